"""The page in a browser; skipped where there is no Chromium with its driver, or no selenium."""

import base64
import io
import shutil

import numpy as np
import pandas as pd
import pytest

from estbench import report
from tests.support.report_results import ENVIRONMENT, TASKS, results

selenium = pytest.importorskip("selenium", reason="selenium drives the browser; pip install estbench[test]")
from selenium import webdriver  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402

MANY = 20
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver (Debian: chromium, chromium-driver)"
    ),
    # one browser, and one report of many estimators
    pytest.mark.xdist_group("page"),
]
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync",
    "--disable-component-update", "--disable-dev-shm-usage", "--no-first-run",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def many():
    """Results of many estimators, on the tasks with the shortest and the longest name."""
    rows = results(MANY, tasks=TASKS[::2], seeds=2, evaluations=3)
    return rows[rows["measure"] != "speed"]


@pytest.fixture(scope="module")
def pages(five, many, svg_only_in_module, tmp_path_factory):
    """Reports with 5 and with many estimators."""
    folder = tmp_path_factory.mktemp("pages")
    return {n: report.write(rows, ENVIRONMENT, folder / str(n)) for n, rows in ((5, five), (MANY, many))}


def visit(browser, page, width=1440, scheme="light"):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(page.as_uri())


def labels(browser, table="#task-1"):
    rows = browser.find_elements(By.CSS_SELECTOR, f"{table} tbody tr")
    return [row.get_dom_attribute("data-label") for row in rows if row.is_displayed()]


def choose(browser, selector, value):
    """Sets a control as a reader would."""
    browser.execute_script(
        "const box = document.querySelector(arguments[0]); box.value = arguments[1];"
        "box.dispatchEvent(new Event('input', {bubbles: true}))", selector, value,
    )  # fmt: skip


def contrast(one, other):
    """WCAG's contrast of two colours as CSS gives them, ``rgb(1, 2, 3)``."""
    lights = []
    for colour in (one, other):
        values = np.array([float(v) / 255 for v in colour[colour.index("(") + 1 : -1].split(",")[:3]])
        linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
        lights.append(float(linear @ [0.2126, 0.7152, 0.0722]))
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def test_the_page_asks_for_nothing_and_complains_of_nothing(browser, pages):
    """From disk, the only request is that for the page itself, and the console is empty."""
    visit(browser, pages[5])
    log = browser.get_log("performance")
    asked = [entry["message"] for entry in log if 'Network.requestWillBeSent"' in entry["message"]]
    addresses = [message for message in asked if "data:," not in message]
    assert len(addresses) == 1
    assert pages[5].as_uri() in addresses[0]
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("count", [5, MANY])
@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_overflows(browser, pages, count, width):
    """The page is no wider than the window, and what is wider scrolls in a box of its own."""
    visit(browser, pages[count], width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    outside = browser.execute_script(
        "return [...document.querySelectorAll('main *, header *')]"
        ".filter((e) => !e.closest('.scroll, svg, pre, [hidden]'))"
        ".filter((e) => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)"
        ".map((e) => e.outerHTML)"
    )
    assert outside == []


def test_the_explorers_gradients_fit_a_phone(browser, pages):
    """The exact gradient and both estimates are side by side without scrolling."""
    visit(browser, pages[5], 390)
    box = browser.find_element(By.CSS_SELECTOR, "#explorer .scroll")
    assert browser.execute_script("return arguments[0].scrollWidth - arguments[0].clientWidth", box) <= 0


def test_headings_stay_in_sight_under_many_rows(browser, pages):
    """Scrolled to its end, a table still shows its column headings, and the estimators' names beside the figures."""
    visit(browser, pages[MANY])
    moved = browser.execute_script(
        "const box = document.querySelector('#task-1 > .scroll'); box.scrollTop = 1e6;"
        "const top = (e) => e.getBoundingClientRect().top;"
        "return [box.scrollTop, top(box.querySelector('thead th')) - top(box)]"
    )
    assert moved[0] > 100
    assert abs(moved[1]) <= 1


def test_figures_keep_their_layout_in_another_font(browser, pages):
    """Where a reader's machine has not the layout's font, texts are as wide as they were laid out, to a pixel."""
    visit(browser, pages[5])
    widths = browser.execute_script(
        "const style = document.createElement('style'); style.textContent = 'figure svg text { font-family: monospace"
        " !important }'; document.head.append(style);"
        "return [...document.querySelectorAll('figure svg text')]"
        ".map((e) => [e.textLength.baseVal.value, e.getBBox().width])"
    )
    assert len(widths) > 50
    assert [shown for _, shown in widths] == pytest.approx([wanted for wanted, _ in widths], rel=0.02, abs=1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_schemes_are_legible(browser, pages, scheme):
    """Text has a contrast of 4.5 or more against its ground, in the page and in its figures."""
    visit(browser, pages[5], scheme=scheme)
    grounds = browser.execute_script(
        "const ground = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;"
        " if (!c.endsWith(', 0)')) return c; } };"
        "return [...document.querySelectorAll('p, td, th, li, small, dt, dd, a, summary, figcaption, label, h2')]"
        ".map((e) => [getComputedStyle(e).color, ground(e)])"
    )
    assert min(contrast(*pair) for pair in {tuple(pair) for pair in grounds}) >= 4.5
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    inks = browser.execute_script(
        "return [...document.querySelectorAll('figure svg text')].map((e) => getComputedStyle(e).fill)"
    )
    assert inks
    assert min(contrast(ink, paper) for ink in set(inks)) >= 4.5
    bright = contrast(paper, "rgb(0, 0, 0)") > 10
    assert bright == (scheme == "light")


def test_a_column_sorts_both_ways(browser, many, pages):
    """By its better end first, then the other way; what has no figure stays last."""
    visit(browser, pages[MANY])
    button = browser.find_element(By.CSS_SELECTOR, "#task-1 th[data-key=variance] button")
    table = report.summary(many)
    known = table[(table["task"] == "toy") & table["variance"].notna()].sort_values("variance")
    expected = list(known["estimator"])
    for order in (expected, expected[::-1]):
        browser.execute_script("arguments[0].click()", button)
        shown = labels(browser)
        assert shown[: len(order)] == order
        assert all(label.startswith("nvil") for label in shown[len(order) :])
    assert button.find_element(By.XPATH, "..").get_dom_attribute("aria-sort") == "descending"


def test_rows_are_filtered_by_name_family_and_task(browser, pages):
    """Only what matches is shown, and all of it comes back."""
    visit(browser, pages[MANY])
    everything = labels(browser)
    choose(browser, "#filter", "GUMBEL")
    assert labels(browser) == [label for label in everything if "gumbel" in label]
    choose(browser, "#filter", "")
    choose(browser, "#family", "Coupled")
    assert set(labels(browser)) == {label for label in everything if label.startswith(("arm", "disarm"))}
    choose(browser, "#family", "")
    assert labels(browser) == everything
    choose(browser, "#task", "task-2")
    assert not browser.find_element(By.ID, "task-1").is_displayed()
    assert browser.find_element(By.ID, "task-2").is_displayed()


def test_a_link_restores_sorting_filter_and_columns(browser, pages):
    """The address holds what was chosen; opened again, the page shows the same rows in the same order."""
    visit(browser, pages[MANY])
    choose(browser, "#filter", "gumbel")
    browser.execute_script("document.querySelector('#controls input[value=mse]').click()")
    button = browser.find_element(By.CSS_SELECTOR, "#task-1 th[data-key=variance] button")
    for _ in range(2):
        browser.execute_script("arguments[0].click()", button)
    shown, address = labels(browser), browser.current_url
    visit(browser, pages[5])
    browser.get(address)
    assert labels(browser) == shown
    assert all("gumbel" in label for label in shown)
    assert browser.find_element(By.CSS_SELECTOR, "#task-1 th[data-key=mse]").is_displayed()
    header = browser.find_element(By.CSS_SELECTOR, "#task-1 th[data-key=variance]")
    assert header.get_dom_attribute("aria-sort") == "descending"


def test_a_figures_numbers_can_be_downloaded(browser, five, pages):
    """A line for each point, as it is shown on pointing; a figure without points offers nothing."""
    visit(browser, pages[5])
    browser.execute_script(
        "URL.createObjectURL = (blob) => { window.taken = blob.text(); return 'blob:none'; };"
        "HTMLAnchorElement.prototype.click = function () {};"
    )
    for figure in browser.find_elements(By.CSS_SELECTOR, "#task-1 figure"):
        points = figure.find_elements(By.CSS_SELECTOR, "svg .point")
        button = figure.find_element(By.CSS_SELECTOR, ".download")
        assert button.is_displayed() == bool(points)
        if points:
            browser.execute_script("arguments[0].click()", button)
            text = browser.execute_async_script("window.taken.then(arguments[arguments.length - 1])")
            assert list(pd.read_csv(io.StringIO(text))["value"]) == [p.get_dom_attribute("data-hover") for p in points]


def test_files_beside_the_page_are_linked(browser, pages):
    """Those that are there, by their names."""
    visit(browser, pages[5])
    links = {link.get_dom_attribute("href") for link in browser.find_elements(By.CSS_SELECTOR, "#provenance p a")}
    assert "report.md" in links
    assert all((pages[5].parent / name).is_file() for name in links)
    assert "results.parquet" not in links


@pytest.mark.parametrize("count", [5, MANY])
def test_the_sorted_column_is_in_view_on_a_wide_screen(browser, pages, count):
    """Rows come ordered by the objective on test data, which is marked as such and not cut off."""
    visit(browser, pages[count], 1440)
    for column, right, edge in browser.execute_script(
        "return [...document.querySelectorAll('.task th[aria-sort]')].map((th) => { const box = th.closest('.scroll');"
        " const left = box.getBoundingClientRect().left;"
        " return [th.dataset.key, th.getBoundingClientRect().right - left, box.clientWidth]; })"
    ):
        assert column in {"loss_test", "elbo_test"}
        assert right <= edge + 1


def test_a_tables_numbers_can_be_downloaded(browser, five, pages):
    """As CSV with each estimator's values in full, hidden columns too."""
    visit(browser, pages[5])
    browser.execute_script(
        "URL.createObjectURL = (blob) => { window.taken = blob.text(); return 'blob:none'; };"
        "HTMLAnchorElement.prototype.click = function () { window.file = this.download; };"
    )
    browser.execute_script("document.querySelector('#task-1 button.download').click()")
    text = browser.execute_async_script("window.taken.then(arguments[arguments.length - 1])")
    found = pd.read_csv(io.StringIO(text)).set_index("estimator")
    expected = report.summary(five).query("task == 'toy'").set_index("estimator")
    assert browser.execute_script("return window.file") == "task-1.csv"
    for key in ("variance", "mse", "loss_test"):
        assert found[key].to_dict() == pytest.approx(expected[key].to_dict(), nan_ok=True)


def test_a_phone_is_told_that_tables_scroll(browser, pages):
    """Below each main table, and on no wide screen; the names stay where they are."""
    for width, told in ((390, True), (1440, False)):
        visit(browser, pages[5], width)
        assert browser.find_element(By.CSS_SELECTOR, "#task-1 .hint").is_displayed() == told
    visit(browser, pages[5], 390)
    moved = browser.execute_script(
        "const box = document.querySelector('#task-1 > .scroll'); const left = () =>"
        " box.querySelector('tbody th').getBoundingClientRect().left;"
        "const before = left(); box.scrollLeft = 200; return [box.scrollLeft, left() - before]"
    )
    assert moved[0] > 100
    assert abs(moved[1]) <= 1


def test_columns_are_hidden_and_shown(browser, pages):
    """A box hides its column in all tables, and shows one that was hidden at first."""
    visit(browser, pages[5])
    for key, before in (("variance", True), ("mse", False)):
        cells = browser.find_elements(By.CSS_SELECTOR, f".task [data-key={key}]")
        assert len(cells) == 18
        assert {cell.is_displayed() for cell in cells} == {before}
        browser.execute_script(f"document.querySelector('#controls input[value={key}]').click()")
        assert {cell.is_displayed() for cell in cells} == {not before}


@pytest.mark.parametrize("selector", ["#task-1 td[data-key=variance].ok", "#task-1 figure svg .point"])
def test_pointing_shows_the_exact_figure(browser, pages, selector):
    """Value, interval and n, in tables as in figures."""
    visit(browser, pages[5])
    target = browser.find_elements(By.CSS_SELECTOR, selector)[1]
    browser.execute_script(
        "arguments[0].dispatchEvent(new MouseEvent('mousemove', {bubbles: true, clientX: 50, clientY: 50}))",
        target,
    )
    tip = browser.find_element(By.ID, "tip")
    assert tip.is_displayed()
    assert "95 % interval" in tip.text
    assert "n = 3072" in tip.text


def test_names_run_nothing_in_a_browser(browser, svg_only_in_module, tmp_path):
    """A name that is a script is shown and not run."""
    rows = results(3, tasks=("toy",))
    evil = '<img src=x onerror="window.broken=1"><script>window.broken=1</script></title></style>'
    rows = rows.assign(estimator=rows["estimator"] + evil, task=rows["task"] + evil)
    visit(browser, report.write(rows, {"command": evil, evil: evil}, tmp_path))
    assert browser.execute_script("return window.broken === undefined && !document.querySelector('img')")
    assert "onerror" in browser.find_element(By.ID, "task-1").text
    assert browser.get_log("browser") == []


# The explorer against the Python side


def explorer(browser, expression, *values):
    return browser.execute_script(f"return {expression}", *values)


def softmax(values):
    weights = np.exp(np.asarray(values) - np.max(values))
    return weights / weights.sum()


LOGITS, TARGETS, NOISE = [0.3, -1.0, 0.7, 0.0], [0.45, 0.1, 0.8, 0.3], [0.2, 1.7, -0.4, 0.9]


@pytest.mark.parametrize("temperature", [0.1, 0.7, 5.0])
def test_the_explorers_gradients_are_torchs(browser, pages, temperature):
    """Soft and straight-through samples and their gradients agree with automatic differentiation."""
    torch = pytest.importorskip("torch")
    visit(browser, pages[5])
    logits = torch.tensor(LOGITS, dtype=torch.float64, requires_grad=True)
    soft = ((logits + torch.tensor(NOISE)) / temperature).softmax(-1)
    hard = torch.nn.functional.one_hot(soft.argmax(), 4).double()
    through = hard + soft - soft.detach()
    shown = explorer(browser, "GumbelSoftmax.soft(...arguments)", LOGITS, NOISE, temperature)
    assert shown == pytest.approx(soft.tolist())
    assert explorer(browser, "GumbelSoftmax.hard(arguments[0])", shown) == hard.tolist()
    for at, point in ((soft, soft), (hard, through)):
        cost = (point - torch.tensor(TARGETS, dtype=torch.float64)).square().sum()
        (expected,) = torch.autograd.grad(cost, logits, retain_graph=True)
        found = explorer(
            browser, "GumbelSoftmax.gradient(...arguments)", soft.tolist(), at.tolist(), TARGETS, temperature
        )
        assert found == pytest.approx(expected.tolist(), rel=1e-6, abs=1e-9)


def test_the_explorers_exact_gradient_is_the_enumerated_one(browser, pages):
    """Against finite differences of the expected cost."""
    visit(browser, pages[5])
    costs = [sum((np.eye(4)[k] - TARGETS) ** 2) for k in range(4)]
    expected = []
    for unit in np.eye(4) * 1e-5:
        above, below = (softmax(np.asarray(LOGITS) + sign * unit) @ costs for sign in (1, -1))
        expected.append((above - below) / 2e-5)
    found = explorer(browser, "GumbelSoftmax.exactGradient(...arguments)", LOGITS, TARGETS)
    assert found == pytest.approx(expected, abs=1e-8)


def test_the_explorers_noise_is_gumbel(browser, pages):
    """Mean and variance of 100,000 draws, and the classes they choose, are as they should be."""
    visit(browser, pages[5])
    noise = np.array(explorer(browser, "GumbelSoftmax.gumbel(100000, GumbelSoftmax.random(3))"))
    assert noise.mean() == pytest.approx(0.5772, abs=5 * 1.2825 / 100_000**0.5)
    assert noise.std() == pytest.approx(np.pi / 6**0.5, rel=0.02)
    draws = (np.asarray(LOGITS) + noise.reshape(-1, 4)).argmax(1)
    shares = np.bincount(draws, minlength=4) / 25_000
    assert shares == pytest.approx(softmax(LOGITS), abs=5 * 0.5 / 25_000**0.5)


def test_the_explorer_answers_to_its_controls(browser, pages):
    """Samples add up, and a slider starts them again with new probabilities."""
    visit(browser, pages[5])
    drawn = browser.find_element(By.ID, "drawn")
    assert drawn.text == "1,000"
    browser.execute_script("document.getElementById('thousand').click()")
    assert drawn.text == "2,000"
    choose(browser, "#classes input[type=range]", "1")
    assert drawn.text == "1,000"
    assert browser.find_element(By.ID, "probability-0").text == "0.667"
    choose(browser, "#classes input[type=number]", "2.5")
    first = browser.find_element(By.CSS_SELECTOR, "#gradients tbody td:nth-child(2)").text
    weights = np.array([1, 0.3, 0.15, 0.05]) / 1.5
    costs = np.array([sum((np.eye(4)[k] - [2.5, 0.1, 0.8, 0.3]) ** 2) for k in range(4)])
    assert float(first.replace("−", "-")) == pytest.approx(weights[0] * (costs[0] - weights @ costs), abs=5e-4)


def test_it_prints_without_controls(browser, pages):
    """The printed page is a PDF of several sheets, in which nothing is to click."""
    visit(browser, pages[5])
    printed = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert io.BytesIO(printed).read(4) == b"%PDF"
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert not browser.find_element(By.ID, "controls").is_displayed()
    assert browser.find_element(By.ID, "provenance").is_displayed()
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_what_is_folded_on_screen_is_unfolded_on_paper(browser, pages):
    """Published figures stand in the print, and are folded again afterwards."""
    visit(browser, pages[5])
    count = "return document.querySelectorAll('.task details:not([open])').length"
    folded = browser.execute_script(count)
    assert folded > 0
    for event, expected in (("beforeprint", 0), ("afterprint", folded)):
        browser.execute_script(f"window.dispatchEvent(new Event('{event}'))")
        assert browser.execute_script(count) == expected
