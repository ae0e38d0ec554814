import json
import re

import pandas as pd
import pytest

from estbench.errors import UserError
from estbench.execution.cell_runner import CellRunner
from estbench.planning import plan as planning
from estbench.planning.resolved import ResolvedSuite
from estbench.planning.suite import FOLDER, load_suite, validate
from estbench.planning.trials import trials as trials_of
from estbench.plugins.registry import Plugins
from estbench.workflows import tuning
from tests.support import ROOT
from tests.support.plans import resolved

# from one half to the best deterministic answer in 40 steps: only the larger rate gets far, and it always does
TUNED = {
    "tasks": ["toy[target=0.1,learning_rate=0.0001,0.3]"],
    "estimators": ["rloo", "gumbel_softmax[temperature=0.5,1.0]"],
    "measures": ["training[steps=40,evaluations=4]"],
    "seeds": 2,
    "device": "cpu",
    "tune": {"options": ["learning_rate", "temperature"], "fraction": 0.5},
}


def suite(**changes):
    return resolved({**TUNED, **changes})


def measure(cell):
    return CellRunner(Plugins.found()).measure(cell)


def chosen(wanted):
    trials = trials_of(wanted)
    return trials, *tuning.choose(trials, {cell: measure(cell) for cell in trials.plan.cells})


def test_candidates_are_the_grids_of_tuned_options_on_a_fraction_of_the_steps():
    """Two rates for RLOO, two rates times two temperatures for Gumbel-Softmax, by the first seed alone."""
    trials = trials_of(suite())
    assert sorted(len(cells) for cells in trials.groups.values()) == [2, 4]
    assert {cell.seed for cell in trials.plan.cells} == {0}
    assert {cell.measure.options["steps"] for cell in trials.plan.cells} == {20}


def test_the_best_on_validation_is_compared():
    """The rate at which the toy's loss falls is chosen, and every estimator is compared once a seed with its own."""
    wanted = suite()
    _, choice, table = chosen(wanted)
    cells = planning.make(wanted, chosen=choice).cells
    assert [(str(cell.estimators[0].name), cell.seed) for cell in cells] == [
        ("rloo", 0), ("gumbel_softmax", 0), ("rloo", 1), ("gumbel_softmax", 1),
    ]  # fmt: skip
    assert all(cell.task.options["learning_rate"] == 0.3 for cell in cells)
    best = table[table["best"]]
    assert len(best) == 2
    for (_, estimator), group in table.groupby(["task", "estimator"]):
        assert best.loc[best["estimator"] == estimator, "value"].item() == group["value"].min()


def test_results_name_what_was_chosen_apart_from_what_was_asked_for():
    """The task and the estimator are named without tuned options; those are in a column of their own."""
    wanted = suite()
    _, choice, _ = chosen(wanted)
    rows = measure(planning.make(wanted, chosen=choice).cells[1])
    assert set(rows["task"]) == {"toy[target=0.1]"}
    assert set(rows["params"]) == {"{}"}
    assert json.loads(rows["chosen"].iloc[0])["learning_rate"] == 0.3
    assert json.loads(rows["chosen"].iloc[0])["temperature"] in {0.5, 1.0}


def test_candidates_in_full_are_not_trained_twice():
    """With all the steps the chosen candidate is the comparison's own cell, of the same key."""
    wanted = suite(tune={"options": ["learning_rate", "temperature"]})
    trials, choice, _ = chosen(wanted)
    plan = planning.make(wanted, chosen=choice)
    tried = {entry.name for entry in trials.plan.entries.values()}
    assert all(plan.entries[cell].name in tried for cell in plan.cells if cell.seed == 0)


def test_joint_measures_take_one_task_and_the_chosen_estimators():
    """All estimators are timed on the first candidate of the task, side by side."""
    wanted = suite(measures=["training[steps=40]", "speed[blocks=6]"])
    _, choice, _ = chosen(wanted)
    (speed,) = (cell for cell in planning.make(wanted, chosen=choice).cells if cell.joint)
    assert speed.task.options["learning_rate"] == 0.0001
    assert [spec.name for spec in speed.estimators] == ["rloo", "gumbel_softmax"]


def test_a_failed_candidate_is_not_chosen():
    """The other one is, however bad; where all failed the first is compared, and its failure is seen."""
    trials = trials_of(suite(estimators=["rloo"]))
    good = pd.DataFrame([{"metric": "loss_valid", "status": "ok", "step": 20, "value": 9.0, "error": ""}])
    failed = pd.DataFrame([{"metric": "", "status": "failed", "step": 0, "value": float("nan"), "error": "NaN"}])
    first, second = trials.plan.cells
    choice, _ = tuning.choose(trials, {first: failed, second: good})
    assert list(choice.values()) == [(second.task, second.estimators[0])]
    choice, table = tuning.choose(trials, {first: failed, second: failed})
    assert list(choice.values()) == [(first.task, first.estimators[0])]
    assert list(table["error"]) == ["NaN", "NaN"]


def test_another_metric_may_decide():
    """Where a suite names a metric, higher is better, whatever the objective."""
    tune = {"options": ["learning_rate"], "metric": "accuracy"}
    trials = trials_of(suite(estimators=["rloo"], tune=tune))

    def rows(loss, accuracy):
        values = {"loss_valid": loss, "accuracy_valid": accuracy}
        return pd.DataFrame([{"metric": k, "status": "ok", "step": 40, "value": v} for k, v in values.items()])

    first, second = trials.plan.cells
    choice, _ = tuning.choose(trials, {first: rows(1.0, 0.2), second: rows(2.0, 0.9)})
    assert next(iter(choice.values()))[0] == second.task


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"measures": ["speed"]}, "needs the measure training"),
        ({"tune": {"options": ["units"]}}, "nothing to choose from: no grid of units"),
        ({"tune": {"options": ["learning_rate"], "fraction": 2.0}}, "tune.fraction: .* got 2.0"),
        ({"tune": {"option": ["learning_rate"]}}, "unknown key 'tune.option'"),
        ({"scale": 0.0}, "scale: .* got 0.0"),
    ],
)
def test_wrong_tuning_is_refused(changes, message):
    """One line says what is wrong and what was received."""
    with pytest.raises(UserError, match=message):
        trials_of(suite(**changes))


def test_scale_takes_a_fraction_of_the_steps():
    """Of those that are asked for, and of a measure's default; a measure without training is left alone."""
    plan = planning.make(suite(tune=None, scale=0.1, measures=["training", "training[steps=5]", "speed"]))
    assert {cell.measure.options.get("steps") for cell in plan.cells} == {100, 1, None}


def test_parts_inherit_and_replace():
    """A part has the suite's values but for its own; the command line replaces both; one part can be had alone."""
    parts = [{"tasks": ["toy[units=2]"]}, {"estimators": ["arm"]}]
    whole = validate({**TUNED, "tune": None, "parts": parts}, "test")
    first, second = whole.comparisons
    assert (first.tasks, first.estimators) == (["toy[units=2]"], TUNED["estimators"])
    assert (second.tasks, second.estimators) == (TUNED["tasks"], ["arm"])
    assert all(part.tasks == ["toy"] for part in load_suite("jang2017", {"tasks": ["toy"]}).comparisons)
    assert len(load_suite("jang2017", {}, [2]).comparisons) == 1
    with pytest.raises(UserError, match=r"has 4 parts; got --parts 0"):
        load_suite("jang2017", {}, [0])


def test_every_shipped_suite_is_documented():
    """docs/reference/suites.md has a row for each, and none for another."""
    # the first section; tables below it are of other things
    page = (ROOT / "docs" / "reference" / "suites.md").read_text(encoding="utf-8").partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == {path.stem for path in FOLDER.glob("*.toml")}


@pytest.mark.parametrize("name", [path.stem for path in FOLDER.glob("*.toml")])
def test_shipped_suites_resolve(name):
    """Every name and option of every shipped suite exists, in the comparison and in the tuning before it."""
    wanted = ResolvedSuite.of(load_suite(name, {"device": "cpu"}), Plugins.found())
    assert planning.make(wanted).cells
    assert trials_of(wanted) or not any(part.suite.tune for part in wanted.comparisons)
