"""What reports say of differences between estimators, of efficiency, and of what was not found."""

import io
import math

import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from estbench import report, stats
from estbench.report.charts.training import TrainingChart
from estbench.report.model.study import Study
from estbench.report.model.targets import crossing
from estbench.report.text import comparison, formatting, tables
from estbench.report.text.findings import answers
from estbench.store.records import COLUMNS
from tests.support.report_results import TASKS, results

# they share one report
pytestmark = pytest.mark.xdist_group("report")


@pytest.fixture(scope="module")
def rows(five):
    return five


@pytest.fixture(scope="module")
def study(rows):
    return Study.of(rows)


def cells(study, task, key):
    table = tables.table(study, task)
    place = [heading.quantity.key for heading in table.headings].index(key)
    return {row.label: row.cells[place] for row in table.rows}


def test_a_bias_that_was_not_found_is_below_the_resolution_of_its_samples_everywhere(rows, written):
    """Page, Markdown, LaTeX and terminal say so with the number of samples, and nowhere stands the noise's value."""
    console = Console(file=io.StringIO(), width=200)
    for table in report.terminal_table(rows):
        console.print(table)
    outputs = {name: (written / name).read_text() for name in ("index.html", "report.md", "tables.tex")}
    outputs["terminal"] = console.file.getvalue()
    noise = report.summary(rows).set_index(["task", "estimator"]).loc[(TASKS[1], "rloo"), "relative_bias"]
    assert noise > 0
    for output in outputs.values():
        assert "below the resolution of 3,072 samples" in " ".join(output.split())
        assert f"{noise:.6g}" not in output
        assert f"{100 * noise:.3g}" not in output


def test_the_bound_of_a_bias_is_the_upper_end_of_its_interval(study):
    """It is what the cell shows and what it is sorted by."""
    row = study.column(TASKS[1], "relative_bias").loc["rloo"]
    cell = cells(study, TASKS[1], "relative_bias")["rloo"]
    assert cell.text == f"< {formatting.number(100 * row['high'], 2)}"
    assert cell.order == row["high"]


def test_variance_at_equal_evaluations_is_their_product(study):
    """Its interval is the variance's, as evaluations are counted."""
    even, variance, count = (
        study.column("toy", key).loc["disarm"] for key in ("evaluation_variance", "variance", "evaluations")
    )
    for side in ("value", "low", "high"):
        assert even[side] == pytest.approx(variance[side] * count["value"])


def test_a_target_is_reached_between_two_evaluations():
    """Linearly, at the first time; a curve that starts above is there at its start, and one below never is."""
    x, y = np.array([0.0, 10.0, 20.0, 30.0]), np.array([0.0, 4.0, 2.0, 6.0])
    assert crossing(x, y, 3.0) == 7.5
    assert crossing(x, y, 5.0) == 27.5
    assert crossing(x, y, -1.0) == 0
    assert math.isnan(crossing(x, y, 7.0))


def test_all_trainings_reach_the_target_unless_another_is_asked_for(study):
    """It is the worst value that any ended with, of losses the highest."""
    ends = study.runs[(study.runs["task"] == "toy") & (study.runs["quantity"] == "loss_valid")]
    assert study.targets["toy"].metric == "loss_valid"
    assert study.targets["toy"].value == ends["value"].max()
    column = study.column("toy", "steps_to_target")
    assert set(column.index) == {"exact", "rloo", "gumbel_softmax", "disarm", "reinforce"}
    assert column["value"].between(1, 3000).all()
    assert (column["reached"] == 3).all()


def test_the_time_to_a_target_is_a_mean_over_seeds(study):
    """With Student's interval, of steps and of seconds."""
    runs = study.runs[(study.runs["task"] == "toy") & (study.runs["label"] == "rloo")]
    for key in ("steps_to_target", "seconds_to_target"):
        values = runs[runs["quantity"] == key]["value"].to_numpy()
        row = study.column("toy", key).loc["rloo"]
        assert tuple(row[["value", "low", "high"]]) == pytest.approx(stats.mean_interval(values))


def test_a_target_that_a_seed_misses_has_no_time(rows):
    """The cell says "not reached" and by how many seeds, the interval goes from the training's end to infinity."""
    ends = Study.of(rows).runs
    ends = ends[(ends["task"] == "toy") & (ends["quantity"] == "loss_valid") & (ends["label"] == "rloo")]["value"]
    found = Study.of(rows, wanted={"loss_valid": float(ends.median())})
    cell = cells(found, "toy", "steps_to_target")["rloo"]
    assert cell.text == "not reached"
    assert "reached by 2 of 3 seeds" in cell.hover
    row = found.column("toy", "steps_to_target").loc["rloo"]
    assert math.isnan(row["value"])
    assert (row["low"], row["high"]) == (3000, math.inf)
    assert not row["best"] and not row["tied"]


def test_marks_are_those_of_multiple_comparisons_with_the_best(study):
    """The p-value, interval and mark of each estimator are those of Edwards & Hsu over all that compete."""
    column, paired = study.contestants("toy", "loss_test"), study.paired("toy", "loss_test")
    found = stats.best_of_paired(-paired.runs).with_best()
    for place, label in enumerate(paired.labels):
        row = column.loc[label]
        assert row["gap"] == found.difference[place]
        assert (row["gap_low"], row["gap_high"]) == (found.low[place], found.high[place])
        assert row["tied"] == (found.p[place] >= 0.05)
        assert row["best"] == (row["value"] == column["value"].min())
        assert row["best"] or row["p"] == found.p[place]


def test_intervals_and_marks_of_every_column_agree(study):
    """Who is marked as tied has an interval of the difference to the best that reaches 0, and the others have none."""
    tested = study.estimates[study.estimates["p"].notna()]
    assert len(tested) > 20
    assert (tested["tied"] == (tested["gap_high"] >= 0)).all()
    assert (tested["tied"] == (tested["p"] >= 0.05)).all()
    assert (tested["close"] <= tested["tied"]).all()


def test_reports_name_the_test_and_what_it_assumes():
    """The sentence says how many comparisons with the best hold at once, over how many seeds, and what is assumed."""
    said = " ".join(answers(Study.of(results(5)), "toy"))
    assert "hold for all 4 comparisons with the best at once (Edwards & Hsu 1983)" in said
    assert "over 3 seeds in pairs, whose differences are taken as normal" in said


def test_differences_to_the_best_are_simultaneous(study):
    """Each is the interval of the difference to the best of the others, beside the probability of improvement."""
    found, paired = comparison.of_task(study, "toy"), study.paired("toy", "loss_test")
    column = study.contestants("toy", "loss_test")
    best, second = found.rows[0][0], found.rows[1]
    assert column.loc[best, "best"]
    row = column.loc[second[0]]
    assert second[2] == formatting.behind(row["gap_low"], row["gap_high"])
    chance = stats.improvement(-paired.found(second[0])[None], -paired.found(best)[None]).value
    assert second[4] == f"{100 * chance:.0f} %"
    assert "fewer than 5 seeds" in found.lines[-1]


def test_over_all_tasks_the_worst_scores_0_and_the_best_1():
    """Means over seeds are so scaled on each task; with five seeds there are intervals; who misses a task is named."""
    found = Study.of(results(8, seeds=5, evaluations=2))
    for own in np.stack([*comparison.scores(found).values()]).mean(2).T:
        assert (own.min(), own.max()) == (pytest.approx(0), pytest.approx(1))
    table = comparison.of_all(found)
    assert all("to" in row[1] for row in table.rows)
    assert table.lines[-1] == "Left out, as some task or seed is missing: arm and nvil."
    middle = stats.interquartile_mean(comparison.scores(found)[table.rows[0][0]])
    assert table.rows[0][1] == comparison._estimate(middle)


def test_one_task_or_one_seed_has_nothing_to_compare():
    """There is no table where there are no two of what it compares."""
    assert comparison.of_all(Study.of(results(3, tasks=("toy",)))) is None
    alone = Study.of(results(3, seeds=1))
    assert comparison.of_task(alone, "toy") is None
    assert comparison.of_all(alone) is None
    assert comparison.of_task(Study.of(results(1).reindex(columns=list(COLUMNS)).iloc[:0]), "toy") is None


@pytest.mark.parametrize(("others", "told"), [(8, "1 to 8, not to be compared"), (1, "")])
def test_shares_of_an_ensemble_are_no_times_to_compare(rows, others, told):
    """Where some were trained together the time to a target is left out, steps are not, and table and plot say why."""
    mixed = rows.assign(replicas=np.where(rows["estimator"] == "rloo", others, 1))
    found = Study.of(mixed)
    keys = {quantity.key for quantity in found.quantities_of("toy")}
    assert "steps_to_target" in keys
    assert ("seconds_to_target" in keys) == (not told)
    remarks = [remark for remark in tables.table(found, "toy").remarks if "ensembles" in remark]
    assert remarks == ([f"Seconds of training are shares of ensembles of {told}."] if told else [])
    figure = Figure()
    TrainingChart().draw(figure, TrainingChart().rows(found, "toy"), found)
    label = figure.axes[1].get_xlabel()
    assert label == f"seconds of training{told and ': shares of ensembles of '}{told}"


def test_trainings_of_unequal_lengths_are_said_to_be_unequal(rows):
    """A table sets their ends side by side, with a remark that is not there where all had as many steps."""
    last = rows["step"].max()
    longer = rows["step"].where(~((rows["estimator"] == "rloo") & (rows["step"] == last)), 3 * last)
    remark = f"Trained for {last:,.0f} to {3 * last:,.0f} steps, and compared at the end of each training."
    assert remark in tables.table(Study.of(rows.assign(step=longer)), "toy").remarks
    assert not [each for each in tables.table(Study.of(rows), "toy").remarks if each.startswith("Trained for")]


def test_equal_shares_are_compared_and_said_to_be_shares(rows):
    """With as many replicas everywhere the time to a target stays, with a remark."""
    found = Study.of(rows.assign(replicas=8))
    assert "seconds_to_target" in {quantity.key for quantity in found.quantities_of("toy")}
    assert "Seconds of training are shares of ensembles of 8." in tables.table(found, "toy").remarks
