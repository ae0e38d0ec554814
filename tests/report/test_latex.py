"""LaTeX tables: their widths, columns, signs and notes."""

import functools
import re
import shutil
import subprocess

import pandas as pd
import pytest
from matplotlib import get_data_path
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from estbench import UserError
from estbench.report.formats import latex
from estbench.report.model.study import Study
from estbench.report.text.formatting import plus_minus
from tests.support.report_results import TASKS, results

# they share one study
pytestmark = pytest.mark.xdist_group("latex")
LONG = "an_estimator_with_an_extraordinarilylongnamewithoutanybreak"
TABULAR = re.compile(r"\\begin\{tabular\}\{@\{\}l(r+)@\{\}\}\n(.*?)\\end\{tabular\}", re.DOTALL)
GAP = 3.0


@pytest.fixture(scope="module")
def study():
    """Twelve estimators with options, one with a long name, one metric with a long key, and some declarations."""
    rows = results(12, tasks=TASKS[::2], evaluations=3)
    rows["estimator"] = rows["estimator"].replace("arm", LONG)
    rows["metric"] = rows["metric"].replace("flops", "an_undeclared_metric/of_averyverylonglayernamewithoutanybreak")
    biased = rows["estimator"].str.contains("gumbel")
    rows["declared"] = biased.map({True: "biased", False: "unbiased"})
    rows.loc[rows["estimator"] == "muprop", "declared"] = "unbiased, 2-sample bound"
    return Study.of(rows)


@functools.cache
def points(text, bold):
    """The width of a text in Computer Modern of 8 points, whose letters are 6.25 % wider than those of 10, scaled."""
    font = FontProperties(fname=f"{get_data_path()}/fonts/ttf/cm{'b' if bold else 'r'}10.ttf", size=8 * 1.0625)
    return text_to_path.get_text_width_height_descent(text, font, ismath=False)[0] * (1.03 if bold else 1.0)


def cell_width(cell):
    """The width in points of a cell as LaTeX sets it."""
    if box := re.match(r"\\parbox\[t\]\{([\d.]+)pt\}", cell):
        return float(box[1])
    stack = re.match(r"\\shortstack\[r\]\{(.*)\}$", cell)
    return max(points(plain(line), r"\textbf" in line) for line in (stack[1].split(r"\\") if stack else [cell]))


def plain(text):
    """The letters of LaTeX; superscripts count in full, and signs of mathematics as digits of their size."""
    text = text.replace(r"$\pm$", "0+").replace(r"$-$", "0+").replace(r"$\times$", "0+").replace(r"$\times10^{", "0+10")
    text = re.sub(r"\\text(?:less|greater|asciitilde)\{\}", "0", text).replace(r"\textmu{}", "m")
    return re.sub(r"\\[a-z]+|[{}$]|\\(?=[_%&#])", "", text).replace("_", "-")


def widths(text):
    """The width of each tabular: names, columns, and the space between them."""
    for columns, body in TABULAR.findall(text):
        lines = [line.strip().removesuffix(r"\\") for line in body.splitlines() if " & " in line]
        cells = [re.split(r"(?<!\\)&", line) for line in lines]
        assert {len(each) for each in cells} == {len(columns) + 1}
        columns_of_cells = ([cell.strip() for cell in column] for column in zip(*cells, strict=True))
        yield sum(max(map(cell_width, column)) for column in columns_of_cells) + len(columns) * 2 * GAP


@pytest.mark.parametrize("width", [252.0, 345.0])
def test_tables_fit_their_width_in_letters_of_eight_points(study, width):
    """With all columns and long names too, in Computer Modern; nothing is scaled."""
    everything = [quantity.key for quantity in study.quantities]
    for columns in (None, everything) if width == 252 else (None,):
        text = latex.render(study, columns, width)
        found = list(widths(text))
        assert len(found) >= 2
        assert max(found) <= width
        # the widths are used: no panel could take two further columns of values
        assert max(found) > 0.6 * width
        assert not re.search(r"\\(?:resizebox|scalebox|tiny|scriptsize)", text)
        assert set(re.findall(r"\\fontsize\{(.*?)\}", text)) == {"8"}


@pytest.mark.parametrize("width", [252, 345])
def test_latex_compiles_tables_without_overfull_boxes(study, width, tmp_path):
    """Where a TeX is installed: no box is wider than the text."""
    if not shutil.which("pdflatex"):
        pytest.skip("needs pdflatex; without it the widths are only computed from those of the letters")
    head = rf"\documentclass{{article}}\usepackage{{booktabs}}\setlength{{\textwidth}}{{{width}pt}}\begin{{document}}"
    (tmp_path / "t.tex").write_text(f"{head}\n{latex.render(study, width=width)}\n\\end{{document}}\n")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "t.tex"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "Overfull \\hbox" not in done.stdout


def test_chosen_columns_stand_in_their_order(study):
    """Hidden ones too, once each; a task that has none of them has no table."""
    text = latex.render(study, ["step_time", "mse", "step_time"], 345)
    (heads,) = {line.strip() for line in text.splitlines() if line.strip().startswith("&")}
    assert re.findall(r"Time|Mean", heads) == ["Time", "Mean"]
    alone = latex.render(study, ["elbo_test"])
    assert alone.count(r"\begin{table}") == 1
    assert r"\caption{vae}" in alone


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["varianc"], "no column 'varianc'; did you mean 'variance'"),
        ([], "name at least one column of relative_bias, "),
    ],
)
def test_unknown_columns_are_refused(study, columns, message):
    """In one line with the nearest one, and so is none."""
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        latex.render(study, columns)
    assert "\n" not in str(caught.value)


def test_options_stand_once_below_the_table_and_names_are_short(study):
    """An estimator of which there is one row has no options in its name; of several, those that differ."""
    rows = results(3, tasks=("toy[units=3,seed=1]",), evaluations=3)
    rows["params"] = rows["estimator"].map({
        "exact": "{}", "rloo": '{"samples": 4}', "gumbel_softmax": '{"samples": 4, "temperature": 1.0}',
    })  # fmt: skip
    other = rows[rows["estimator"] == "gumbel_softmax"].assign(params='{"samples": 4, "temperature": 0.5}')
    text = latex.render(Study.of(pd.concat([rows, other], ignore_index=True)), ["variance"]).replace(
        r"\hspace{0pt}", ""
    )
    names = re.findall(r"^ {4}(?:\\parbox.*?raggedright )?([a-z].*?)(?:\\strut\})? &", text, re.MULTILINE)
    assert sorted(names) == [
        "exact", r"gumbel\_softmax (temperature=0.5)", r"gumbel\_softmax (temperature=1.0)", "rloo",
    ]  # fmt: skip
    assert r"\caption{toy}" in text
    assert "Task: toy{[}units=3,seed=1{]}." in text
    assert text.count("samples=4") == 2
    assert r"Options: rloo (samples=4); gumbel\_softmax (samples=4)." in text


def test_ties_and_declarations_are_footnotes(study):
    """Each sign of the table is explained below it, and every superscript that is explained is used."""
    for text in latex.render(study).split(r"\begin{table}")[1:]:
        body, _, notes = text.partition("\n  \\raggedright ")
        used = set(re.findall(r"\\textsuperscript\{(.*?\}?)\}(?= |\\|$)", body, re.MULTILINE))
        assert set(re.findall(r"\\textsuperscript\{(.*?\}?)\} ", notes)) == used
        assert {"a", "b"} <= used
        assert r"\textsuperscript{a} declared biased" in notes or r"\textsuperscript{b} declared biased" in notes
        assert "declared unbiased for the 2-sample bound" in notes
        assert "otherwise declared unbiased" in notes


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (8769.29, 8679.80, 8859.70, "8,770 ± 90"),
        (0.0258, 0.0249, 0.0267, "0.0258 ± 0.0009"),
        (1.234e-7, 1.034e-7, 1.434e-7, "(1.23 ± 0.20)e−7"),
        (-5.1e9, -5.2e9, -5.0e9, "(−5.10 ± 0.10)e9"),
        (2.0, 2.0, 2.0, "2.00"),
        (3.0, float("nan"), float("nan"), "3.00"),
        (100.0, 100.0 - 1e-9, 100.0 + 1e-9, "100.000"),
        (0.1, -5.0, 5.2, "0 ± 5"),
        (float("inf"), 0.0, 1.0, "∞"),
    ],
)
def test_a_value_has_half_the_width_of_its_interval(value, low, high, text):
    """With as many decimals as two digits of the interval's width leave, and a common power of ten."""
    assert plus_minus(value, low, high) == text
