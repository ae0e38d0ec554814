import gc
import json
import weakref

import pytest

from estbench.engine.base import Bench
from estbench.errors import UserError
from estbench.execution.cell_runner import CellRunner
from estbench.execution.executors.inline import Inline
from estbench.execution.runner import CellWork, run
from estbench.planning.suite import Suite, load_suite, validate
from estbench.plugins.registry import Plugins
from estbench.store.records import COLUMNS, joined
from estbench.store.store import Store
from tests.support.plans import plan_of

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
    return plan_of({**QUICK, **changes}, files)


def measure(cell):
    return CellRunner(Plugins.found()).measure(cell)


def done(plan, store, executor=None, **options):
    """Runs a plan to its end: each cell with its result and whether it was there."""
    retry = options.pop("retry_failed", False)
    work = CellWork(plan.plugins, store.folder, **options)
    return list(run(plan, store, executor or Inline(), work, retry_failed=retry))


def test_a_suite_resolves_into_cells():
    """Training has a cell for each estimator and seed; timing has one for all, and comes last."""
    cells = plan().cells
    assert [cell.measure.name for cell in cells] == ["training"] * 6 + ["speed"]
    assert {(str(cell.estimators[0]), cell.seed) for cell in cells[:6]} == {
        (name, seed) for name in ("rloo[samples=2]", "rloo[samples=3]", "arm") for seed in (0, 1)
    }
    assert len(cells[-1].estimators) == 3


def figures(result):
    return result.rows[["metric", "step", "value", "n", "status"]].to_dict("list")


def names(plan):
    return [entry.name for entry in plan.entries.values()]


def test_keys_depend_on_what_results_depend_on():
    """Options, seeds and precision change a cell's key; building the plan again does not."""
    one, two, other = plan(), plan(), plan(dtype="float64")
    assert len(set(names(one))) == len(one.cells)
    assert names(one) == names(two)
    assert not set(names(one)) & set(names(other))


def test_budgets_are_no_part_of_a_key_and_defaults_are():
    """More steps have the same key and another amount; a default written out changes nothing."""
    few, many = (plan(measures=[f"training[steps={steps}]"]) for steps in (4, 8))
    for cell, other in zip(few.cells, many.cells, strict=True):
        assert few.entries[cell].key == many.entries[other].key
        assert (few.entries[cell].budget, many.entries[other].budget) == ({"steps": 4}, {"steps": 8})
    short, long = plan(measures=["training"]), plan(measures=["training[steps=1000,evaluations=10]"])
    assert names(short) == names(long)
    assert not set(names(short)) & set(names(plan(measures=["training[evaluations=5]"])))


def test_a_precision_is_for_the_measures_that_have_one():
    """It replaces that of gradients, is part of their key, and leaves other measures as they are."""
    plain, precise = (plan(measures=["gradient", "training[steps=4]"], **more) for more in ({}, {"precision": 0.05}))
    found = {cell.measure.name: cell for cell in precise.cells}
    assert found["gradient"].measure.options["precision"] == 0.05
    assert "precision" not in found["training"].measure.options
    for one, other in zip(plain.cells, precise.cells, strict=True):
        assert (one.identity == other.identity) == (one.measure.name == "training")


def test_an_edited_plugin_has_another_key(tmp_path):
    """Changing what a plugin does invalidates its cells and no others; a comment or docstring invalidates none."""
    file = tmp_path / "mine.py"

    def keys(source):
        file.write_text(source)
        made = plan(estimators=["mine", "arm"], files=(str(file),))
        return {cell: made.entries[cell].key for cell in made.cells if not cell.joint}

    before = keys(BROKEN)
    assert keys(BROKEN.replace('"""Raises."""', '"""Raises, always."""') + "# edited\n") == before
    after = keys(BROKEN.replace("broken", "cracked"))
    assert {str(cell.estimators[0]) for cell in before if before[cell] != after[cell]} == {"mine"}


def test_an_edited_helper_of_a_plugin_has_another_key(tmp_path):
    """A module beside a plugin file may be imported by it, and is part of its cells' keys."""
    file, helper = tmp_path / "helped.py", tmp_path / "helper_of_helped.py"
    helper.write_text("MESSAGE = 'one'\n")
    file.write_text("from helper_of_helped import MESSAGE\n" + BROKEN.replace('"broken', 'MESSAGE + "broken'))

    def keys():
        return names(plan(estimators=["helped"], files=(str(file),)))

    before = keys()
    helper.write_text("# a comment\nMESSAGE = 'one'\n")
    assert keys() == before
    helper.write_text("MESSAGE = 'two'\n")
    assert not set(keys()) & set(before)


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
    rows = joined(result for _, result, _ in done(broken, Store(tmp_path / "store")))
    failed = rows[rows["status"] == "failed"]
    assert set(failed["estimator"]) == {"broken"}
    assert set(failed["error"]) == {"RuntimeError: broken | on <purpose> and on two lines"}
    rest = rows[rows["estimator"] == "rloo"]
    assert set(rest["measure"]) == {"training", "speed"}
    assert set(rest["status"]) == {"ok"}


def test_what_does_not_apply_is_no_failure():
    """ARM on categorical latents is not applicable, with the reason."""
    cells = plan(tasks=["toy[latents=categorical]"], estimators=["arm"]).cells
    row = measure(cells[0]).iloc[0]
    assert (row.status, row.metric) == ("not applicable", "")
    assert row.error == "ARM takes Bernoulli nodes; 'd' is Categorical"


def test_a_multi_sample_bound_is_refused_with_an_analytic_divergence():
    """VIMCO is not applicable where the divergence is analytic, as its objective would be no bound; RLOO is."""

    def refused(kl, measures):
        cells = plan(tasks=[f"vae[units=2,kl={kl}]"], estimators=["vimco", "rloo"], measures=measures, seeds=[0]).cells
        rows = [row for cell in cells for row in measure(cell).itertuples()]
        return {(row.estimator, row.measure): row.error for row in rows if row.status != "ok" and not row.metric}

    training = "training[steps=1,samples=2,pictures=0]"
    found = refused("analytic", [training, "gradient[replicates=64]"])
    assert set(found) == {("vimco", "training"), ("vimco", "gradient")}
    assert all(
        "the 2-sample bound" in why and why.endswith("got kl=analytic, set kl=sampled") for why in found.values()
    )
    assert not refused("sampled", [training])


def test_finished_cells_are_kept_and_damaged_ones_measured_again(tmp_path):
    """A second run measures nothing that is there; a damaged file is set aside, reported and measured again."""
    said = []
    small, store = plan(estimators=["rloo"]), Store(tmp_path, said.append)
    assert [cached for _, _, cached in done(small, store)] == [False] * 3
    assert [cached for _, _, cached in done(small, store)] == [True] * 3
    before = [figures(result) for _, result, _ in done(small, store)]
    path = store.path(small.entries[small.cells[0]])
    path.write_bytes(b"half a file")
    assert sorted(cached for _, _, cached in done(small, store)) == [False, True, True]
    assert len(said) == 1
    assert f"{path} is damaged" in said[0]
    assert [file.read_bytes() for file in (tmp_path / "damaged").iterdir()] == [b"half a file"]
    assert [figures(result) for _, result, _ in done(small, store)] == before


def test_failed_cells_are_kept_until_they_are_to_be_tried_again(tmp_path):
    """A failure is not repeated by every run, but by one that asks for it."""
    file, store = tmp_path / "broken.py", Store(tmp_path / "store")
    file.write_text(BROKEN)
    broken = plan(estimators=["broken", "arm"], measures=["training[steps=4]"], files=(str(file),))
    assert [cached for _, _, cached in done(broken, store)] == [False] * 4
    assert [cached for _, _, cached in done(broken, store)] == [True] * 4
    again = {str(cell.estimators[0]): cached for cell, _, cached in done(broken, store, retry_failed=True)}
    assert again == {"broken": False, "arm": True}


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
    assert load_suite("quick", {}).seeds == [0, 1, 2]
    file = tmp_path / "mine.toml"
    file.write_text('tasks = ["toy"]\nseeds = [4]\n')
    assert load_suite(str(file), {"seeds": 2}) == Suite(tasks=["toy"], seeds=[0, 1])
    file.write_text("tasks = [")
    with pytest.raises(UserError, match="not valid TOML"):
        load_suite(str(file), {})
    with pytest.raises(UserError, match="did you mean 'quick'"):
        load_suite("quik", {})
    with pytest.raises(UserError, match="No such file"):
        load_suite(str(tmp_path / "none.toml"), {})


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


def test_at_most_one_bench_has_data(monkeypatch):
    """When a cell of another seed is measured, the data of the cells before it are freed."""
    held, most, original = weakref.WeakValueDictionary(), [], Bench.splits

    def splits(bench):
        found = original(bench)
        held[id(found.train[0])] = found.train[0]
        if len(held) > 1:
            gc.collect()
        most.append(len(held))
        return found

    monkeypatch.setattr(Bench, "splits", splits)
    cells = plan(estimators=["rloo"], measures=["training[steps=1,evaluations=1]"], seeds=3).cells
    for cell in cells:
        assert set(measure(cell).status) == {"ok"}
    assert len(most) >= len(cells) == 3
    assert max(most) == 1
