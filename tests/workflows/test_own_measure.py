"""A user's own measure appears wherever a built-in one does."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from estbench import report
from estbench.cli.main import app
from estbench.core.metrics import Metrics
from estbench.report.model.study import Study
from estbench.report.text.findings import answers
from estbench.tracking import tracked_values
from estbench.tracking.tracked_values import Key
from estbench.workflows.diff import diff

# they share two comparisons
pytestmark = pytest.mark.xdist_group("own measure")
PLUGIN = Path(__file__).parent.parent / "support" / "own_measure.py"
TITLES = ("Gradient norm, all", "Agreement", "Surprise")


def compare(folder, scale):
    """A run of the measure alone."""
    arguments = [
        "compare", "-e", str(PLUGIN), "--tasks", "toy[units=3]", "--estimators", "rloo,reinforce,gumbel_softmax",
        "--measures", f"own_measure[scale={scale}]", "--seeds", "6", "--executor", "inline",
        "--store", str(folder / "store"), "--out", str(folder / "run"),
    ]  # fmt: skip
    done = CliRunner().invoke(app, arguments, catch_exceptions=False, env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def runs(svg_only_in_module, tmp_path_factory):
    """Two runs, of which the second has gradients three times as long, and what the first printed."""
    folders = [tmp_path_factory.mktemp(name) for name in ("before", "after")]
    printed = [compare(folder, scale) for folder, scale in zip(folders, (1, 3), strict=True)]
    return [folder / "run" for folder in folders], printed[0]


def study(run):
    metrics = Metrics.from_json(json.loads((run / "environment.json").read_text())["metrics"])
    return Study.of(pd.read_parquet(run / "results.parquet"), metrics=metrics)


def test_its_metrics_are_in_every_table(runs):
    """Terminal, page, Markdown and LaTeX have a column for each metric, one that was not declared among them."""
    (run, _), printed = runs
    page, text, latex = ((run / name).read_text() for name in ("index.html", "report.md", "tables.tex"))
    for title in TITLES:
        assert all(title in output for output in (printed, page, text, latex)), title
    assert "Nothing was measured here" not in page
    assert 'data-better="lower"' in page
    assert 'data-better="higher"' in page
    assert "Mean length of a gradient." in page


def test_its_figures_follow_the_declaration(runs):
    """An interval of its own is averaged over seeds, that over seeds is Student's, and directions decide the best."""
    (run, _), _ = runs
    found, rows = study(run), pd.read_parquet(run / "results.parquet")
    norms = rows[(rows["metric"] == "norm/all") & (rows["estimator"] == "rloo")]
    column = found.column("toy[units=3]", "norm/all")
    margin = math.sqrt(((norms["high"] - norms["value"]) ** 2).sum()) / 6
    assert column.loc["rloo", "value"] == pytest.approx(norms["value"].mean())
    assert column.loc["rloo", "high"] == pytest.approx(norms["value"].mean() + margin)
    assert column["value"].idxmin() == column.index[column["best"]].item()
    agreement = found.column("toy[units=3]", "agreement")
    assert agreement["value"].idxmax() == agreement.index[agreement["best"]].item()
    values = rows.loc[(rows["metric"] == "agreement") & (rows["estimator"] == "rloo"), "value"]
    half = 2.570581835636314 * values.std() / math.sqrt(6)  # Student's quantile, 5 degrees of freedom
    assert agreement.loc["rloo", "high"] == pytest.approx(values.mean() + half)
    assert not found.column("toy[units=3]", "surprise")["best"].any()
    assert [row.label for row in tables_rows(found)] == list(column["value"].sort_values().index)


def tables_rows(found):
    from estbench.report.text.tables import table

    return table(found, "toy[units=3]").rows


def test_its_metrics_are_told_and_drawn(runs, tmp_path):
    """Findings have a sentence for each metric that has a direction; the figure of metrics has a panel for each."""
    (run, _), _ = runs
    sentences = answers(study(run), "toy[units=3]")
    assert [sentence.partition(":")[0] for sentence in sentences] == list(TITLES[:2])
    done = CliRunner().invoke(app, ["plot", "metrics", str(run), "--out", str(tmp_path), "--format", "svg"])
    assert done.exit_code == 0, done.output
    drawing = (tmp_path / "metrics.svg").read_text()
    assert "Gradient norm, all, nats" in drawing
    assert "Agreement" in drawing


def test_diff_reads_its_directions(runs):
    """Longer gradients are worse, less agreement is worse, and a metric without a direction has only changed."""
    (before, after), _ = runs
    verdicts = {change.key[-1]: change.verdict for change in diff(str(before), str(after), before / "none").changes}
    assert verdicts == {"norm/all": "worse", "agreement": "worse", "surprise": "changed"}
    store = str(before.parent / "store"), str(after.parent / "store")
    assert diff(*store, before / "none").code == diff(str(before), str(after), before / "none").code == 1
    assert diff(str(after), str(before), before / "none").code == 0


def test_export_has_its_columns_from_a_run_and_from_a_store(runs, tmp_path):
    """LaTeX has the declared titles, whether they come from the run's folder or from the cells."""
    (run, _), _ = runs
    for number, source in enumerate((run, run.parent / "store")):
        place = tmp_path / str(number)
        done = CliRunner().invoke(app, ["export", str(source), "--to", str(place), "--format", "latex"])
        assert done.exit_code == 0, done.output
        assert "Gradient norm, all, nats" in (place / "tables.tex").read_text()


def test_it_is_tracked(runs):
    """Lower is better of what asv takes: a metric of which more is better is tracked as its negative."""
    (run, _), _ = runs
    found = tracked_values.of_run(run)
    norm = found[Key("own_measure.norm_all", ("rloo", "toy[units=3]"))]
    assert norm.status == "ok"
    assert len(norm.samples) == 6
    assert "own_measure.negative_agreement_after_0" in {key.benchmark for key in found}
    assert not [key for key in found if "surprise" in key.benchmark]


def test_a_report_of_results_alone_shows_them_all_the_same(runs, svg_only, tmp_path):
    """Where the declarations are lost the metrics have columns, with their keys as headings and no best."""
    (run, _), _ = runs
    rows = pd.read_parquet(run / "results.parquet")
    page = report.write(rows, {}, tmp_path).read_text()
    assert "Norm all" in page
    assert "Surprise" in page
    assert not report.summary(rows)["norm/all_mark"].eq("best").any()


def test_two_measures_may_have_a_metric_of_one_name(runs):
    """The second one's column is told apart by its measure, and neither takes the other's rows."""
    (run, _), _ = runs
    rows = pd.read_parquet(run / "results.parquet")
    other = rows[rows["metric"] == "agreement"].assign(measure="other", value=7.0)
    table = report.summary(pd.concat([rows, other], ignore_index=True))
    assert (table["other/agreement"] == 7.0).all()
    assert (table["agreement"] < 1.0).all()
