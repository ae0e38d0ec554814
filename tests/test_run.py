import json

import pandas as pd
import pytest

from estbench import plan as planning
from estbench.executors.inline import Inline
from estbench.run import measure, run
from estbench.spec import UserError
from estbench.store import COLUMNS, Store
from estbench.suite import Suite, load, validate

QUICK = {
    "tasks": ["toy"],
    "estimators": ["rloo[samples=2,3]", "arm"],
    "measures": ["training[steps=4,evaluations=2]", "speed[blocks=6,seconds=0.0001]"],
    "seeds": 2,
    "device": "cpu",
}

BROKEN = '''
from estbench import ScoreFunction


class Broken(ScoreFunction):
    """Raises."""

    unbiased = True
    paper = ""

    def baseline(self, name, node, cost):
        raise RuntimeError("broken | on <purpose>\\nand on two lines")
'''


def plan(**changes):
    files = changes.pop("files", ())
    return planning.make(validate({**QUICK, **changes}, "test"), files)


def test_a_suite_resolves_into_cells():
    """Training has a cell for each estimator and seed; timing has one for all, and comes last."""
    cells = plan().cells
    assert [cell.measure.name for cell in cells] == ["training"] * 6 + ["speed"]
    assert {(str(cell.estimators[0]), cell.seed) for cell in cells[:6]} == {
        (name, seed) for name in ("rloo[samples=2]", "rloo[samples=3]", "arm") for seed in (0, 1)
    }
    assert len(cells[-1].estimators) == 3


def test_keys_depend_on_what_results_depend_on():
    """Options, seeds and precision change a cell's key; building the plan again does not."""
    one, two, other = plan(), plan(), plan(dtype="float64")
    keys = [one.key(cell) for cell in one.cells]
    assert len(set(keys)) == len(keys)
    assert keys == [two.key(cell) for cell in two.cells]
    assert not set(keys) & {other.key(cell) for cell in other.cells}


def test_an_edited_plugin_has_another_key(tmp_path):
    """Changing a plugin's source invalidates its cells and no others."""
    file = tmp_path / "mine.py"
    file.write_text(BROKEN)
    before = plan(estimators=["mine", "arm"], files=(str(file),))
    file.write_text(BROKEN + "# edited\n")
    after = plan(estimators=["mine", "arm"], files=(str(file),))
    changed = {
        str(a.estimators[0])
        for a, b in zip(before.cells, after.cells, strict=True)
        if before.key(a) != after.key(b) and not a.joint
    }
    assert changed == {"mine"}


def test_results_have_the_documented_columns():
    """A run gives one table with the columns in their order, labels and parameters included."""
    table = measure(plan().cells[0])
    assert tuple(table.columns) == COLUMNS
    row = table.iloc[0].to_dict()
    assert json.loads(row["params"]) == {"samples": 2}
    expected = {"task": "toy", "estimator": "rloo", "device": "cpu", "dtype": "float32", "measure": "training"}
    assert expected.items() <= row.items()


def test_a_failure_is_a_row_and_the_others_go_on(tmp_path):
    """A plugin that raises gives a failed row with a one-line reason; the rest of the run is complete."""
    file = tmp_path / "broken.py"
    file.write_text(BROKEN)
    broken = plan(estimators=["broken", "rloo"], files=(str(file),))
    tables = {str(cell): rows for cell, rows, _ in run(broken, Store(tmp_path / "store"), Inline())}
    together = pd.concat(tables.values())
    failed = together[together["status"] == "failed"]
    assert set(failed["estimator"]) == {"broken"}
    assert set(failed["error"]) == {"RuntimeError: broken | on <purpose> and on two lines"}
    rest = together[together["estimator"] == "rloo"]
    assert set(rest["measure"]) == {"training", "speed"}
    assert set(rest["status"]) == {"ok"}


def test_what_does_not_apply_is_no_failure():
    """ARM on categorical latents is not applicable, with the reason."""
    cells = plan(tasks=["toy[latents=categorical]"], estimators=["arm"]).cells
    row = measure(cells[0]).iloc[0]
    assert (row.status, row.metric) == ("not applicable", "")
    assert row.error == "ARM takes Bernoulli nodes; 'd' is Categorical"


def test_finished_cells_are_kept_and_failed_ones_are_tried_again(tmp_path):
    """A second run measures nothing that is there; a damaged file is measured again."""
    small, store = plan(estimators=["rloo"]), Store(tmp_path)
    first = [cached for _, _, cached in run(small, store, Inline())]
    again = [cached for _, _, cached in run(small, store, Inline())]
    assert first == [False] * 3
    assert again == [True] * 3
    (tmp_path / f"{small.key(small.cells[0])}.parquet").write_bytes(b"half a file")
    assert sorted(cached for _, _, cached in run(small, store, Inline())) == [False, True, True]
    table = store.collect(small.key(cell) for cell in small.cells)
    assert set(table["measure"]) == {"training", "speed"}


def test_an_interrupted_write_leaves_nothing_behind(tmp_path, monkeypatch):
    """A cell whose write fails is not in the store, and the error says where it was to go."""
    from pathlib import Path

    def refuse(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    store = Store(tmp_path)
    with pytest.raises(UserError, match=r"cannot write .*No space left"):
        store.put("key", pd.DataFrame({"a": [1]}))
    assert store.get("key") is None


def test_a_store_that_cannot_be_made_is_one_clear_error(tmp_path):
    """A file where the folder should be is refused."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot keep results in"):
        Store(tmp_path / "file")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"task": ["toy"]}, "unknown key 'task'; did you mean 'tasks'?"),
        ({"seeds": "three"}, "seeds: "),
        ({"seeds": []}, "at least one seed"),
        ({"seeds": -1}, "at least one seed"),
        ({"tasks": []}, "tasks: "),
        ({"device": "gpu"}, "device: "),
        ({"dtype": "float16"}, "dtype: "),
    ],
)
def test_a_wrong_suite_is_one_line_for_each_mistake(values, message):
    """Unknown keys and wrong values are named, with what was received."""
    with pytest.raises(UserError) as raised:
        validate(values, "suite x.toml")
    assert str(raised.value).startswith("suite x.toml: ")
    assert message in str(raised.value)


def test_suites_come_by_name_or_file_and_options_replace_their_values(tmp_path):
    """The shipped suite is valid; a file's values are replaced by the command line's."""
    assert load("quick", {}).seeds == [0, 1, 2]
    file = tmp_path / "mine.toml"
    file.write_text('tasks = ["toy"]\nseeds = [4]\n')
    assert load(str(file), {"seeds": 2}) == Suite(tasks=["toy"], seeds=[0, 1])
    file.write_text("tasks = [")
    with pytest.raises(UserError, match="not valid TOML"):
        load(str(file), {})
    with pytest.raises(UserError, match="did you mean 'quick'"):
        load("quik", {})
    with pytest.raises(UserError, match="No such file"):
        load(str(tmp_path / "none.toml"), {})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": ["toi"]}, "unknown task 'toi'; did you mean 'toy'?"),
        ({"estimators": ["rloo[sample=3]"]}, "rloo has no option 'sample'; did you mean 'samples'?"),
        ({"estimators": ["rloo[samples=1]"]}, "at least 2; got 1"),
        ({"measures": ["speed[blocks=many]"]}, "option 'blocks'"),
    ],
)
def test_names_and_options_are_checked_before_anything_runs(changes, message):
    """A plan with a mistake is refused with the nearest valid name or what was received."""
    with pytest.raises(UserError) as raised:
        plan(**changes)
    assert message in str(raised.value)


def test_processes_give_the_same_numbers(tmp_path):
    """The local executor yields the rows of the inline one, but for seconds, and timing cells last."""
    import torch

    from estbench.executors import make

    small = plan(measures=["training[steps=4,evaluations=2]", "speed[blocks=6,seconds=0.0001]"], estimators=["rloo"])
    found = {}
    torch.set_num_threads(1)
    for name in ("inline", "local"):
        store = Store(tmp_path / name)
        order = [cell for cell, _, _ in run(small, store, make(name, 2, "cpu"))]
        assert order[-1].joint
        table = store.collect(small.key(cell) for cell in small.cells)
        found[name] = table[table["measure"] == "training"].drop(columns="seconds")
    pd.testing.assert_frame_equal(found["inline"], found["local"])


def test_a_plugin_that_kills_its_worker_is_one_clear_error(tmp_path):
    """A killed process ends the run with what to do next; the driver lives."""
    from estbench.executors import make

    file = tmp_path / "deadly.py"
    file.write_text(BROKEN.split("raise", maxsplit=1)[0] + "import os; os._exit(9)\n")
    deadly = plan(estimators=["deadly"], measures=["training[steps=4]"], files=(str(file),))
    with pytest.raises(UserError, match="a worker process was killed"):
        list(run(deadly, Store(tmp_path / "store"), make("local", 2, "cpu")))


def test_an_unknown_executor_is_refused_with_the_known_ones():
    """The nearest name is offered."""
    from estbench.executors import make

    with pytest.raises(UserError, match="did you mean 'local'"):
        make("lokal", None, "cpu")
