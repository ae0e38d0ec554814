import io
import json
import math
import re
import subprocess
import sys
import time
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.textpath import TextToPath
from rich.console import Console
from scipy import stats

from estbench import UserError, report
from estbench.engine.profiling.png import png
from estbench.errors import plain, shorten
from estbench.report import gallery, illustrations
from estbench.report.charts.shared.plane import pareto
from estbench.report.drawing import curve_labels, style
from estbench.report.drawing.legend import legend, legend_height
from estbench.report.drawing.point_labels import place_numbers
from estbench.report.formats import latex as formats_latex
from estbench.report.model import looks
from estbench.report.model.intervals import averaged, root_mean_square
from estbench.report.model.rows import labelled
from estbench.report.model.study import Study
from estbench.report.text import formatting, tables
from estbench.report.text.findings import answers
from estbench.store.records import COLUMNS
from tests.support.report_results import ENVIRONMENT, FAMILIES, TASKS, results

# they share one report
pytestmark = pytest.mark.xdist_group("report")

EVIL = "<script>alert(1)</script>$\\frac{`|*_[x](http://a.b)\n\x1b[31m&\"'%#~^ \u202e{{7*7}}"


def one(value=1.0, low=0.9, high=1.1, **more):
    """A row of a quantity."""
    row = {"task": "t", "label": "a", "quantity": "q", "seed": "0", "step": 0.0, "n": 10.0}
    return row | {"value": value, "low": low, "high": high} | more


def printed(tables_):
    console = Console(file=io.StringIO(), width=200, color_system="truecolor", force_terminal=True)
    for table in tables_:
        console.print(table)
    return console.file.getvalue()


def test_a_report_is_made_of_these_files(written):
    """A page, Markdown, LaTeX, BibTeX, and every figure as SVG, PNG and PDF."""
    assert {path.name for path in written.iterdir()} == {
        "index.html", "report.md", "tables.tex", "references.bib", "figures",
    }  # fmt: skip
    stems = {path.stem for path in (written / "figures").iterdir()}
    assert len(list((written / "figures").iterdir())) == 3 * len(stems)
    kinds = {re.sub(r"-\d-.*", "", stem) for stem in stems}
    assert kinds == {
        "variance",
        "bias-variance",
        "trajectory",
        "efficiency",
        "training",
        "ties",
        "speed",
        "profiles",
        "scores",
        "gumbel_softmax",
    }


def test_the_report_runs_no_torch():
    """Importing the report imports no torch."""
    code = "import estbench.report, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def assert_same_files(write, folder):
    """What is written twice has the same bytes twice; returns the suffixes of the files."""
    for name in ("once", "again"):
        write(folder / name)
    files = [path for path in (folder / "once").rglob("*") if path.is_file()]
    for path in files:
        assert (folder / "again" / path.relative_to(folder / "once")).read_bytes() == path.read_bytes(), path.name
    return {path.suffix for path in files}


def test_the_same_results_make_the_same_report(svg_only, tmp_path):
    """No date and no random identifier is in a page, a table or a figure of it."""
    rows = results(2, tasks=("toy",), evaluations=3)
    assert assert_same_files(lambda folder: report.write(rows, ENVIRONMENT, folder), tmp_path) > {".html", ".svg"}


def test_the_same_results_make_the_same_figure(tmp_path):
    """No date and no random identifier is in a figure of any format."""
    rows = results(2, tasks=("toy",), evaluations=3)
    assert assert_same_files(lambda folder: report.plot("speed", rows, folder), tmp_path) == {".svg", ".png", ".pdf"}


@pytest.mark.long
def test_the_same_results_make_the_same_files(five, tmp_path):
    """No date and no random identifier is in a report with everything, drawn anew."""

    def write(folder):
        illustrations._drawn.cache_clear()
        report.write(five, ENVIRONMENT, folder)

    assert assert_same_files(write, tmp_path) > {".html", ".svg", ".png", ".pdf"}


def test_missing_columns_are_refused(five):
    """The message names the columns that are missing."""
    with pytest.raises(ValueError, match="missing: unit, error"):
        report.summary(five.drop(columns=["unit", "error"]))


def test_the_summary_has_a_row_for_each_task_and_estimator(five, summary):
    """Each has its figures at the last step with intervals and marks."""
    table = summary.set_index(["task", "estimator"])
    assert len(table) == 15
    last = five[(five["metric"] == "variance/logits") & (five["step"] == 300) & (five["task"] == "toy")]
    expected = last[last["estimator"] == "rloo"]["value"].mean()
    assert table.loc[("toy", "rloo"), "variance"] == pytest.approx(expected)
    assert table.loc[("toy", "rloo"), "variance_low"] < expected < table.loc[("toy", "rloo"), "variance_high"]
    assert table.loc[("toy", "exact"), "variance_mark"] == "best"


def test_final_objectives_have_students_interval(five, summary):
    """Over three seeds, at the last step of each."""
    runs = five[(five["metric"] == "elbo_test") & (five["step"] == 3000) & (five["task"] == TASKS[1])]
    values = runs[runs["estimator"] == "rloo"]["value"]
    half = stats.t.ppf(0.975, 2) * values.std() / 3**0.5
    row = summary.set_index(["task", "estimator"]).loc[(TASKS[1], "rloo")]
    assert row["elbo_test"] == pytest.approx(values.mean())
    assert row["elbo_test_high"] - row["elbo_test"] == pytest.approx(half)


def test_labels_hold_the_options():
    """Estimators with options are told apart by them."""
    assert "gumbel_softmax[temperature=0.25]" in set(
        report.summary(results(40, tasks=("toy",), seeds=1, evaluations=2))["estimator"]
    )


def test_averages_over_seeds_are_narrower():
    """The mean of k independent figures has an interval narrower by the root of k."""
    rows = pd.DataFrame([one(seed=str(seed)) for seed in range(4)])
    found = averaged(rows).iloc[0]
    assert (found["low"], found["high"]) == (pytest.approx(0.95), pytest.approx(1.05))


def test_seeds_do_not_turn_noise_into_bias():
    """The interval of a mean of biases begins at 0 where those of all seeds do, however many they are."""
    rows = pd.DataFrame([one(0.1, 0.0, 0.2, seed=str(seed)) for seed in range(3)])
    assert root_mean_square(rows).iloc[0]["low"] == 0


def test_a_bias_of_one_seed_keeps_its_interval():
    """With one seed the summary shows what was measured."""
    found = root_mean_square(pd.DataFrame([one(0.3, 0.2, 0.4)])).iloc[0]
    assert tuple(found[["value", "low", "high"]]) == (
        pytest.approx(0.3),
        pytest.approx(0.2),
        pytest.approx(0.4),
    )


def test_one_seed_marks_nobody_best():
    """Without a test nothing is marked, and the sentence says so."""
    found = Study.of(results(5, seeds=1))
    column = found.column("toy", "loss_test")
    assert not column["best"].any()
    assert any("a single seed shows no certainty" in sentence for sentence in answers(found, "toy"))


def test_of_one_estimator_alone_there_is_nothing_to_compare():
    """The sentence names it, where only it has values; without any value it only says what failed."""
    rows = results(3, seeds=1)
    one = rows[(rows["estimator"] == "rloo") & (rows["measure"] == "training") & (rows["task"] == "toy")]
    assert answers(Study.of(one), "toy") == ["Only rloo has values here: there is nothing to compare it with."]
    failed = one.assign(status="failed", error="no", value=np.nan)
    (sentence,) = answers(Study.of(failed), "toy")
    assert sentence == "Incomplete: training failed for rloo. No estimator is called best by training."


def test_ties_are_ties():
    """Estimators with the same runs are tied and the sentence finds no difference."""
    rows = results(3)
    training = rows["measure"] == "training"
    first = rows[training & (rows["estimator"] == "exact")]
    same = [rows[~training], *[first.assign(estimator=name) for name in ("exact", "rloo", "gumbel_softmax")]]
    found = Study.of(pd.concat(same))
    assert found.column("toy", "loss_test")["tied"].all()
    assert "no difference in test loss" in answers(found, "toy")[0]


def test_of_estimators_that_training_does_not_tell_apart_the_gradients_choose():
    """Of those with equal losses the one with the least variance times time is named, also if another is faster."""
    rows = results(3)
    rows = rows[rows["estimator"] != "exact"]
    training = rows["measure"] == "training"
    first = rows[training & (rows["estimator"] == "rloo")]
    same = [rows[~training], *[first.assign(estimator=name) for name in ("rloo", "gumbel_softmax")]]
    found = Study.of(pd.concat(same))
    work = found.contestants("toy", "work_variance")["value"]
    (sentence,) = [each for each in answers(found, "toy") if each.startswith("Use ")]
    unbiased = [name for name in work.index if found.declared[name].bias == "unbiased"]
    assert sentence.startswith(f"Use {work[unbiased or work.index].idxmin()}: ")
    assert "least variance times time" in sentence


def test_the_winner_is_named_with_its_lead():
    """Where every other estimator is worse, the first sentence says so, and another gives the interval to the next."""
    rows = results(3)
    shift = rows["estimator"].map({"exact": 0.0, "rloo": 50.0, "gumbel_softmax": 90.0})
    rows["value"] = rows["value"].where(rows["metric"] != "loss_test", rows["value"] + shift)
    first, *others = answers(Study.of(rows), "toy")
    assert first.startswith("Use exact: it has the best test loss (101.58), and all others are worse (5 %, adjusted")
    lead = re.compile(r"Training: the next best, rloo, is \d+(\.\d)? to \d+(\.\d)? worse \(adjusted p ")
    assert any(map(lead.match, others))


def test_sentences_follow_from_the_bias(five):
    """What has a bias and what has none are told apart."""
    sentences = " ".join(answers(Study.of(five), TASKS[1]))
    assert re.search(r"Bias relative to the gradient's length: gumbel_softmax \(15 %\)", sentences)
    assert re.search(r"No bias was found in exact, rloo, disarm", sentences)
    assert "exact has no variance" in sentences


def test_a_bias_that_noise_hides_is_not_praised():
    """An interval from 0 to several lengths of the gradient is called too noisy, and is not the best."""
    rows = results(5, tasks=("toy",))
    loud = (rows["estimator"] == "disarm") & (rows["metric"] == "relative_bias/logits")
    rows.loc[loud, ["value", "low", "high"]] = 1.0, 0.0, 6.5
    found = Study.of(rows)
    assert any(re.search("Too noisy to tell: disarm, where a bias up to", s) for s in answers(found, "toy"))
    marks = found.column("toy", "relative_bias")
    assert list(marks.index[marks["best"]]) == ["exact"]
    assert marks.loc["disarm", "tied"]


def test_bias_below_the_resolution_is_no_figure(five):
    """A bias that was not found is shown as a bound."""
    table = tables.table(Study.of(five), TASKS[1])
    cell = next(row for row in table.rows if row.label == "rloo").cells[0]
    assert cell.text.startswith("< ")
    assert cell.interval == "below resolution"


def test_figures_of_speed_have_names_and_units(five):
    """Parts of a step, memory, operations, threads and clock are columns; the clock's range is no interval."""
    table = tables.table(Study.of(five), TASKS[0])
    cells = dict(zip((heading.title for heading in table.headings), table.rows[0].cells, strict=True))
    expected = {"Forward, µs", "Backward, ms", "Optimiser, µs", "Resident memory, MB", "Operations, MFLOP", "Threads"}
    assert expected < set(cells)
    clock = cells["Clock rate, GHz"]
    assert (clock.text, clock.interval, clock.mark) == ("2.30", "", "")
    assert clock.hover.startswith("Clock rate: 2.3e+09 Hz, n = ")


def test_reasons_are_shown_everywhere(svg_only, tmp_path):
    """Cells that failed or are not applicable are in page, Markdown, LaTeX, terminal and summary."""
    rows = results(8, tasks=TASKS[::2], evaluations=3)
    rows = rows[rows["estimator"].isin(["rloo", "arm", "nvil"])]
    index = report.write(rows, ENVIRONMENT, tmp_path)
    outputs = [index.read_text(), (tmp_path / "report.md").read_text(), (tmp_path / "tables.tex").read_text()]
    for output in [*outputs, printed(report.terminal_table(rows))]:
        assert "ARM takes Bernoulli nodes" in output
        assert "the loss is NaN after 17 steps" in output
    table = report.summary(rows).set_index(["task", "estimator"])
    assert table.loc[("toy", "nvil"), "status"] == "failed"
    assert table.loc[(TASKS[2], "arm"), "status"] == "not applicable"


def test_a_seed_that_failed_is_not_hidden_by_the_others():
    """The figure of the other seeds stands, and the note counts the seeds."""
    rows = results(3)
    chosen = (rows["measure"] == "training") & (rows["estimator"] == "rloo") & (rows["seed"] == 1)
    failed = rows[chosen].iloc[:1].assign(status="failed", error="boom", metric="", value=np.nan)
    table = tables.table(Study.of(pd.concat([rows[~chosen], failed])), "toy")
    row = next(row for row in table.rows if row.label == "rloo")
    assert row.cells[-1].status == "ok"
    assert row.notes == ["training failed (1 of 3 seeds): boom"]


ODD = {
    "empty": lambda rows: rows.iloc[:0],
    "gradient": lambda rows: rows[rows["measure"] == "gradient"],
    "training": lambda rows: rows[rows["measure"] == "training"],
    "speed": lambda rows: rows[rows["measure"] == "speed"],
    "single": lambda rows: rows[(rows["estimator"] == "rloo") & (rows["task"] == "toy") & (rows["seed"] == 0)],
    "nan": lambda rows: rows.assign(value=np.nan),
    "no-interval": lambda rows: rows.assign(low=np.nan, high=np.nan),
    "zero": lambda rows: rows.assign(value=0.0, low=0.0, high=0.0),
    "negative": lambda rows: rows.assign(value=-1.0, low=-2.0, high=-0.5),
    "infinite": lambda rows: rows.assign(value=rows["value"].where(rows["estimator"] != "rloo", np.inf)),
    "failed": lambda rows: rows.assign(status="failed", metric=None, value=np.nan, error=None),
    "params": lambda rows: rows.assign(params="{broken"),
    "no-bias": lambda rows: rows[~rows["metric"].str.contains("bias")],
    "no-logits": lambda rows: rows[~rows["metric"].str.contains("logits")],
    "devices": lambda rows: pd.concat([rows, rows.assign(device="cuda")]),
}
# the others are drawn by make test-long
SHORT = {"empty", "single", "nan", "failed"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name in SHORT else pytest.mark.long) for name in ODD])
def test_no_results_break_the_report(name, svg_only, tmp_path):
    """Whatever is missing, a report is written, and the terminal shows each task."""
    rows = ODD[name](results(3, tasks=("toy",), evaluations=3))
    assert report.write(rows, {}, tmp_path).is_file()
    assert len(report.terminal_table(rows)) == report.summary(rows)["task"].nunique()


def test_devices_are_not_averaged_over(five):
    """Figures from two devices are two tasks."""
    five = five[five["task"] == "toy"]
    rows = pd.concat([five, five.assign(device="cuda")])
    assert set(report.summary(rows)["task"]) == {f"toy on {device}, float32" for device in ("cpu", "cuda")}


class Elements(HTMLParser):
    """Collects what a browser would make of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]


@pytest.fixture(scope="module")
def evil(svg_only_in_module, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evil")
    rows = results(5, tasks=TASKS[:2], evaluations=3)
    bad = rows["estimator"] == "reinforce"
    rows = rows.assign(estimator=rows["estimator"] + EVIL, task=rows["task"] + EVIL)
    rows.loc[bad, ["status", "metric", "value", "error"]] = "failed", "", np.nan, EVIL
    papers = dict.fromkeys(rows["estimator"], EVIL)
    environment = ENVIRONMENT | {
        "command": EVIL,
        EVIL: EVIL,
        "papers": papers,
        "families": {"rloo" + EVIL: EVIL},
    }
    return report.write(rows, environment, folder).parent, rows


def test_names_make_no_markup_in_the_page(evil, written):
    """The page has the elements that it has with harmless names, and no attribute that runs anything."""
    found = Elements((evil[0] / "index.html").read_text())
    assert found.tags.count("script") == Elements((written / "index.html").read_text()).tags.count("script") == 3
    assert not [name for name in found.attributes if name.startswith("on")]
    page = (evil[0] / "index.html").read_text()
    assert "{{7*7}}" in page
    assert "\x1b" not in page


def test_names_are_literal_in_figures(evil):
    """Dollar signs and markup stay text in SVG, and the files parse."""
    for path in (evil[0] / "figures").glob("*.svg"):
        root = ET.parse(path).getroot()
        assert not list(root.iter("{http://www.w3.org/2000/svg}script"))
    variance = next((evil[0] / "figures").glob("variance-1*.svg")).read_text()
    assert "$" in "".join(ET.fromstring(variance).itertext())


def test_names_make_no_markup_in_markdown(evil):
    """No raw HTML, no link and no cell boundary comes from a name."""
    page = (evil[0] / "report.md").read_text()
    body, _, _ = page.partition("## Papers")
    assert "<" not in body
    assert not re.search(r"(?<!\\)\]\(http", body)
    tables_ = re.findall(r"(?:^\|.*\n)+", body, re.MULTILINE)
    assert len(tables_) > 3
    for lines in tables_:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines.splitlines()}) == 1


def test_names_make_no_commands_in_latex(evil):
    """Every backslash of a name is written out, every dollar sign escaped, and braces balance."""
    for name in ("tables.tex", "references.bib"):
        page = (evil[0] / name).read_text()
        assert r"\frac" not in page
        stripped = re.sub(r"\\[{}]", "", page)
        assert stripped.count("{") == stripped.count("}")
        ours = re.sub(r"\$(?:-|\\pm|\\times(?:10\^\{-?\d+\})?)\$", "", page)
        assert ours.count("$") == ours.count(r"\$")


def test_powers_of_ten_are_typeset(five):
    """No figure of a LaTeX table is written as a programming language writes it."""
    page = formats_latex.render(Study.of(five), ["work_variance"])
    assert not re.search(r"\de(\$-\$)?\d", page)
    assert re.search(r"\)\$\\times10\^\{-5\}\$", page)


def test_names_drive_no_terminal(evil):
    """No escape sequence and no markup of rich comes from a name."""
    output = printed(report.terminal_table(evil[1].assign(estimator="[red]x[/red]\x1b[5m")))
    assert "\x1b[5m" not in output
    assert "[red]x[/red]" in output


def test_plain_text_is_one_line_without_directions():
    """Newlines, escapes, directions and lone surrogates go."""
    assert plain("a\nb\x1b[1m\u202ec\ud800") == "a b [1m c"


def test_numbers_keep_three_digits():
    """Whatever their size."""
    shown = [formatting.number(value) for value in (0, 1, 0.012345, 123456.7, 1.5e-7, -2.5, math.nan, math.inf)]
    assert shown == ["0", "1.00", "0.0123", "123,457", "1.50e−7", "−2.50", "–", "∞"]


def test_long_names_keep_both_ends():
    """A shortened name still tells options apart."""
    assert shorten("a" * 40 + "[t=1]", 20).endswith("[t=1]")
    assert len(shorten("a" * 40 + "[t=1]", 20)) == 20


def test_looks_tell_40_estimators_apart():
    """No two of 40 estimators share colour and dash; a family shares its marker."""
    labels = [f"e{i}" for i in range(40)]
    found = looks.looks(labels, {label: f"family{i % 4}" for i, label in enumerate(labels)})
    assert len({(look.colour, str(look.dash)) for look in found.values()}) == 40
    assert {found[label].marker for label in labels[::4]} == {found["e0"].marker}


def test_colours_differ_without_colour_vision():
    """Under simulated protanopia, deuteranopia and tritanopia all pairs of colours stay apart (CIE76 > 12)."""
    simulations = {
        "full": np.eye(3),
        "protan": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
        "deutan": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
        "tritan": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
    }
    colours = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in looks.PALETTE])
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    for matrix in simulations.values():
        points = np.array([lab(np.clip(np.asarray(matrix) @ colour, 0, 1)) for colour in linear])
        distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
        assert distances[~np.eye(len(points), dtype=bool)].min() > 12


def lab(linear):
    """CIE L*a*b* of a linear sRGB colour."""
    matrix = [[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]]
    scaled = np.asarray(matrix) @ linear / np.array([0.9505, 1.0, 1.0888])
    roots = np.where(scaled > 0.008856, np.cbrt(scaled), 7.787 * scaled + 16 / 116)
    return np.array([116 * roots[1] - 16, 500 * (roots[0] - roots[1]), 200 * (roots[1] - roots[2])])


def test_the_front_is_what_nothing_beats():
    """Against a comparison of all pairs, a bias that was not found counting as none."""
    rng = np.random.default_rng(1)
    rows = pd.DataFrame({"value_x": rng.exponential(size=30), "value": rng.exponential(size=30), "low": 0.1})
    rows.loc[rng.random(30) < 0.1, "low"] = 0.0
    bias = rows["value"].mask(rows["low"] <= 0, 0.0)
    beaten = [((rows["value_x"] < x) & (bias <= b)).any() for x, b in zip(rows["value_x"], bias, strict=True)]
    assert sorted(pareto(rows)) == [i for i, lost in enumerate(beaten) if not lost]


def test_a_figure_alone_has_a_panel_for_each_task(five, tmp_path):
    """``plot`` writes one file a format, as wide as asked for."""
    files = report.plot("variance", five, tmp_path, width=7.0, formats=("svg", "pdf"))
    assert [file.name for file in files] == ["variance.svg", "variance.pdf"]
    root = ET.parse(files[0]).getroot()
    assert root.get("width") == "504pt"
    assert sum((piece or "") == "variance" for piece in root.itertext()) == len(TASKS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "pie"}, "unknown chart 'pie'; known: bias-variance, "),
        ({"formats": ("gif",)}, "formats are"),
        ({"style": "poster"}, "style is one of"),
        ({"kind": "classes"}, "hold nothing"),
    ],
)
def test_a_figure_that_cannot_be_made_is_refused(five, tmp_path, options, message):
    """The message says what there is."""
    with pytest.raises(ValueError, match=message):
        report.plot(**{"kind": "variance", "results": five, "folder": tmp_path} | options)


def along_own_runs(rows, points=20):
    """The variances once more, a hundred times as large, at many points of each estimator's own run."""
    last = rows[(rows["metric"] == "variance/logits") & (rows["step"] == 300)]
    found = [last.assign(step=15 * k, value=last["value"] * (100 + k)) for k in range(points + 1)]
    return pd.concat(found).assign(metric="own/variance/logits")


def test_points_of_own_runs_are_never_mixed_with_common_ones(five):
    """Tables and the common curve are the same with own runs as without; own curves have their own points alone."""
    five = five[five["task"] == "toy"]
    both = pd.concat([five, along_own_runs(five)], ignore_index=True)
    pd.testing.assert_frame_equal(report.summary(both), report.summary(five))
    (with_own, without) = (gallery.charts()["trajectory"].rows(Study.of(rows), "toy") for rows in (both, five))
    pd.testing.assert_frame_equal(with_own, without)
    drawn = gallery.charts()["own-trajectory"].rows(Study.of(both), "toy")
    assert sorted(set(drawn["step"])) == [15.0 * k for k in range(21)]
    assert drawn["value"].min() >= 100 * with_own["value"].min()
    assert gallery.charts()["own-trajectory"].rows(Study.of(five), "toy").empty


def test_names_at_the_ends_of_curves_keep_order_and_distance():
    """They stand where curves end if there is room, else apart by a line, within the panel; even where none fits."""
    assert curve_labels.spread([0.1, 0.5, 0.9], 0.1) == pytest.approx([0.1, 0.5, 0.9])
    assert curve_labels.spread([0.5, 0.5, 0.5], 0.1) == pytest.approx([0.4, 0.5, 0.6])
    assert curve_labels.spread([0.98, 0.99], 0.1) == pytest.approx([0.9, 1.0])
    assert curve_labels.spread([0.2] * 5, 1.0) == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert curve_labels.spread([0.3], 0.1) == pytest.approx([0.3])


def test_of_many_curves_along_training_all_are_named(five, tmp_path):
    """Of more than eight estimators each name stands once in the panel."""
    five = five[five["task"] == "toy"]
    several = [five.assign(estimator=five["estimator"] + mark) for mark in ("", "_b", "_c")]
    rows = pd.concat(several)
    names = set(gallery.charts()["trajectory"].rows(Study.of(rows), "toy")["label"])
    (file,) = gallery.plot("trajectory", rows, tmp_path, formats=("svg",))
    drawn = [element.text for element in ET.parse(file).iter() if element.tag.endswith("text")]
    assert len(names) > 8
    assert all(drawn.count(name) == 1 for name in names)


@pytest.mark.long
def test_every_kind_is_drawn_for_talks_too(tmp_path):
    """All kinds, the sweeps, a task with published figures and pictures among them, in the larger style."""
    rows = results(24, tasks=("toy[classes=2]", "toy[classes=8]", "vae[dataset=mnist]"), evaluations=3)
    # few of them, with options in all ways
    rows = rows[rows["estimator"].isin(["exact", "rloo", "gumbel_softmax", "arm"])]
    drawn = rows[rows["measure"] == "training"].iloc[-1].to_dict()
    picture = {"metric": "picture/samples", "value": np.nan, "picture": png(torch.rand(2, 3, 8, 8))}
    accuracy = [drawn | {"metric": "accuracy_test", "estimator": name, "value": 0.9} for name in ("rloo", "arm")]
    rows = pd.concat([rows, pd.DataFrame([drawn | picture, *accuracy]), along_own_runs(rows)], ignore_index=True)
    for kind in gallery.charts():
        assert report.plot(kind, rows, tmp_path, style="talk", formats=("svg",), families=FAMILIES)[0].is_file()


def test_tooltips_hold_the_exact_figures(five, written):
    """A point of a figure carries value, interval, n and seeds."""
    drawing = next((written / "figures").glob("variance-1*.svg"))
    titles = [title.text for title in ET.parse(drawing).getroot().iter("{http://www.w3.org/2000/svg}title")]
    value = report.summary(five).set_index(["task", "estimator"]).loc[("toy", "rloo"), "variance"]
    assert any(title.startswith(f"rloo: Variance: {value:.6g}, 95 % interval") for title in titles)
    # the panel's title is whole on hover too
    points = [title for title in titles if title != "toy"]
    assert len(points) == len(titles) - 1 == 5
    assert all("n = 3072, 3 seeds" in title for title in points)


def test_identifiers_are_unique_in_the_page(written):
    """Figures that share a page share no identifier."""
    found = re.findall(r'\sid="([^"]*)"', (written / "index.html").read_text())
    assert len(found) == len(set(found))


def test_the_page_loads_nothing(written):
    """No address of another file is in an attribute that loads, and the policy forbids loading."""
    page = (written / "index.html").read_text()
    assert not re.findall(r'(?:src|srcset|action|data)="(?!data:,)[^"]', page)
    assert not re.findall(r'(?:href)="(?!#|data:,|(?:report\.md|tables\.tex|references\.bib)")[^"]', page)
    assert "default-src 'none'" in page
    assert "url(http" not in page


def test_papers_become_references(written):
    """A paper "Authors (year), address" becomes a BibTeX entry."""
    entry = (written / "references.bib").read_text()
    assert "author = {Kool and van Hoof and Welling}" in entry
    assert r"\url{https://openreview.net/forum?id=r1lgTGL5DE}" in entry


@pytest.mark.long
def test_ten_thousand_rows_take_little_longer_and_make_a_small_page(tmp_path):
    """Ten times as many rows take at most four times the processor time, and the page has at most 5 MB."""
    seconds = []
    for seeds in (2, 20):
        rows, start = results(seeds), time.process_time()
        index = report.write(rows, ENVIRONMENT, tmp_path / str(seeds))
        seconds.append(time.process_time() - start)
    assert len(rows) > 10_000
    assert seconds[1] < 4 * seconds[0]
    assert index.stat().st_size < 5_000_000


def test_provenance_is_printed(written):
    """Everything the environment says is in the page and in Markdown."""
    page, notes = (written / "index.html").read_text(), (written / "report.md").read_text()
    for key, value in ENVIRONMENT.items():
        if key not in {"families", "papers", "versions", "seeds", "gpu"}:
            assert f"<dt>{key}</dt><dd>{value}</dd>" in page
            assert f"| {key} |" in notes
    assert json.dumps("torch 2.13.0, numpy 2.4.0")[1:-1] in page


def test_a_bias_is_found_only_if_its_test_survives_the_number_of_estimators():
    """Of four intervals above 0, the one whose p-value falls to Holm's correction is "none found"."""
    rows = []
    for label, p in {"a": 0.03, "b": 0.0, "c": 0.5, "d": 0.9}.items():
        common = {"task": "toy", "estimator": label, "params": "{}", "seed": 0, "measure": "gradient", "status": "ok"}
        common |= {"step": 0, "n": 64, "error": "", "unit": ""}
        rows += [
            {**common, "metric": "relative_bias/logits", "value": 0.2, "low": 0.1, "high": 0.3},
            {**common, "metric": "unbiased_p/logits", "value": p, "low": np.nan, "high": np.nan},
        ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    found = report.summary(table).set_index("estimator")["relative_bias_low"]
    assert found.to_dict() == {"a": 0.0, "b": 0.1, "c": 0.0, "d": 0.0}


def test_every_point_is_numbered_and_no_number_lies_on_another_or_on_a_line():
    """Also forty points in a heap: where there is no room beside one, its number stands at the end of a line."""
    rng = np.random.default_rng(0)
    with mpl.rc_context(style.settings("paper")):
        figure = Figure(figsize=(3.8, 2.5))
        axes = figure.add_axes((0, 0, 1, 1))
        places = [(float(x), float(y)) for x, y in 10 ** rng.normal(0, 0.25, (40, 2))]
        axes.loglog(*zip(*places, strict=True), "o")
        axes.set(xlim=(0.01, 100), ylim=(0.01, 100))
        place_numbers(axes, places, [i % 2 == 0 for i in range(40)], (3.8, 2.5), 1.0)
        figure.draw_without_rendering()
    assert [note.get_text() for note in axes.texts] == [str(i) for i in range(1, 41)]
    # what is drawn of a number is its text, without the line to its point
    boxes = [Text.get_window_extent(note) for note in axes.texts]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    lines = {i: note.arrow_patch.get_path().interpolated(50).vertices for i, note in enumerate(axes.texts)
             if note.arrow_patch}  # fmt: skip
    assert len(lines) > 10
    crossed = [
        (i + 1, j + 1)
        for i, line in lines.items()
        for j, box in enumerate(boxes)
        if i != j and box.count_contains(line)
    ]
    assert crossed == []


@pytest.mark.parametrize(("style_name", "width"), [("paper", 3.0), ("paper", 4.8), ("paper", 9.0), ("talk", 6.0)])
def test_names_below_a_figure_fit_its_width(style_name, width):
    """In as many columns as there is room for, and as high as was foreseen; in small figures too."""
    labels = [f"straight_through[temperature=0.{i:02}]" for i in range(40)]
    chosen = looks.looks(labels, {})
    with mpl.rc_context(style.settings(style_name)):
        scale = mpl.rcParams["font.size"] / style.SIZE
        foreseen = legend_height(labels, width / scale, lines=False)
        figure = Figure(figsize=(width, (3 + foreseen) * scale), layout="constrained")
        figure.subplots()
        legend(figure, labels, chosen, lines=False, numbered=True)
        figure.draw_without_rendering()
        (box,) = [found.get_window_extent() for found in figure.legends]
    assert box.x0 >= 0 and box.x1 <= figure.bbox.width
    assert box.height / figure.dpi / scale == pytest.approx(foreseen, rel=0.1)


def test_ticks_do_not_speak_over_one_another_in_a_narrow_figure(tmp_path, five):
    """Time and memory side by side in two inches: some ticks are left without their number."""
    seen = []

    def look(figure, *_):
        figure.draw_without_rendering()
        for axes in figure.axes:
            low, high = sorted(axes.get_xlim())
            texts = [t for t in axes.get_xticklabels() if t.get_visible() and low <= t.get_position()[0] <= high]
            seen.extend(formatting.get_window_extent() for formatting in texts if formatting.get_text())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gallery, "save", look)
        report.plot("speed", five[five["task"] == "toy"], tmp_path, width=2.0, formats=("png",))
    assert len(seen) >= 2
    assert not any(a.overlaps(b) for i, a in enumerate(seen) for b in seen[:i])


def test_the_encoders_gradient_has_columns_of_its_own(five, summary):
    """They are in the summary, and hidden in the page until they are asked for."""
    table = summary.set_index(["task", "estimator"])
    rows = five[(five["metric"] == "variance/encoder") & (five["step"] == 300) & (five["estimator"] == "rloo")]
    expected = rows[rows["task"] == "toy"]["value"].mean()
    assert table.loc[("toy", "rloo"), "variance/encoder"] == pytest.approx(expected)
    hidden = {heading.quantity.key for heading in tables.table(Study.of(five), "toy").headings
              if not heading.quantity.shown}  # fmt: skip
    assert {"variance/encoder", "relative_bias/encoder"} <= hidden


def test_texts_of_a_figure_say_how_wide_they_are(written):
    """Each has the width of its font in the layout, so that another font cannot make labels overlap."""
    texts = [
        element
        for path in (written / "figures").glob("variance-*.svg")
        for element in ET.parse(path).getroot().iter("{http://www.w3.org/2000/svg}text")
    ]
    assert len(texts) > 10
    for element in texts:
        size = float(re.search(r"([\d.]+)px", element.get("style"))[1])
        width, _, _ = TextToPath().get_text_width_height_descent(element.text, FontProperties(size=size), ismath=False)
        assert float(element.get("textLength")) == pytest.approx(width, abs=0.01)


def test_results_of_earlier_versions_are_reported(five):
    """Columns that came later are filled in with what they would have been."""
    prepared = labelled(five.drop(columns=["replicas", "picture", "chosen"]))
    assert set(prepared["replicas"]) == {1}
    assert set(prepared["picture"]) == {""}


def test_a_target_of_an_unknown_metric_is_refused_before_anything_is_written(five, tmp_path):
    """A metric on which no training was evaluated along its steps cannot be timed; the nearest one is named."""
    with pytest.raises(UserError, match=r"along its steps on 'elbo_vald'; did you mean 'elbo_"):
        report.write(five, ENVIRONMENT, tmp_path / "report", {"elbo_vald": -100.0})
    assert not (tmp_path / "report").exists()
