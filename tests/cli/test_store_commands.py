import json
import os

import pandas as pd
import pytest
from typer.testing import CliRunner

from estbench.cli.main import app
from estbench.errors import UserError
from estbench.execution.executors.inline import Inline
from estbench.execution.runner import CellWork, run
from estbench.runtime.environment import environment
from estbench.store.records import joined
from estbench.store.store import Store
from estbench.workflows import diff as differences
from estbench.workflows.export import TableOptions, export
from tests.support.plans import plan_of

# they share one store
pytestmark = pytest.mark.xdist_group("store commands")
SUITE = {
    "tasks": ["toy[units=5]"],
    "estimators": ["rloo", "arm"],
    "measures": ["training[steps=4]", "gradient[replicates=256,after=0]", "speed[blocks=6,seconds=0.0001]"],
    "seeds": 3,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A store with the cells of a suite, and their rows."""
    folder = tmp_path_factory.mktemp("measured")
    plan = plan_of(SUITE)
    store = Store(folder / "store")
    results = [result for _, result, _ in run(plan, store, Inline(), CellWork(plan.plugins, store.folder))]
    store.note("a" * 40, plan.entries.values())
    return folder / "store", joined(results)


def write(folder, rows):
    folder.mkdir(exist_ok=True)
    rows.to_parquet(folder / "results.parquet")
    return str(folder)


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def verdicts(found):
    return {(change.key[1], change.key[-1]): change.verdict for change in found.changes if change.verdict != "same"}


def test_what_did_not_change_is_the_same(measured, tmp_path):
    """A run against itself, its store or its commit has no change, and exit code 0."""
    store, rows = measured
    run_folder = write(tmp_path / "run", rows)
    for other in (run_folder, str(store), "a" * 40):
        found = differences.diff(run_folder, other, store)
        assert found.code == 0
        assert verdicts(found) == {}
    assert len(found.changes) > 20


def test_a_real_change_is_found_and_nothing_else(measured, tmp_path):
    """A variance three times as large and a loss that rose in every seed are worse; all else is the same."""
    store, rows = measured
    changed = rows.copy()
    larger = (changed["estimator"] == "arm") & (changed["metric"] == "variance/logits")
    changed.loc[larger, ["value", "low", "high"]] *= 3
    last = (changed["estimator"] == "rloo") & (changed["metric"] == "loss_test") & (changed["step"] == 4)
    changed.loc[last, "value"] += 0.5 + 0.001 * changed.loc[last, "seed"]
    found = differences.diff(write(tmp_path / "a", rows), write(tmp_path / "b", changed), store)
    assert verdicts(found) == {("arm", "variance/logits"): "worse", ("rloo", "loss_test"): "worse"}
    assert found.code == 1
    back = differences.diff(str(tmp_path / "b"), str(tmp_path / "a"), store)
    assert set(verdicts(back).values()) == {"better"}
    assert back.code == 0


def test_noise_is_no_change(measured, tmp_path):
    """Values that move within their intervals are the same."""
    store, rows = measured
    moved = rows.copy()
    moved["value"] += 0.3 * (moved["high"] - moved["value"]).fillna(0) * (-1.0) ** moved["seed"]
    found = differences.diff(write(tmp_path / "a", rows), write(tmp_path / "b", moved), store)
    assert verdicts(found) == {}


def test_what_failed_or_is_missing_is_told(measured, tmp_path):
    """Without anything worse the exit code is 3; what is new is no fault."""
    store, rows = measured
    fewer = rows[rows["estimator"] != "arm"]
    found = differences.diff(write(tmp_path / "a", rows), write(tmp_path / "b", fewer), store)
    assert set(verdicts(found).values()) == {"missing"}
    assert found.code == 3
    assert differences.diff(str(tmp_path / "b"), str(tmp_path / "a"), store).code == 0
    failed = rows.assign(status=rows["status"].mask(rows["metric"] == "peak_memory", "failed"))
    found = differences.diff(str(tmp_path / "a"), write(tmp_path / "c", failed), store)
    assert set(verdicts(found).values()) == {"failed"}


def test_an_unknown_side_is_one_line(measured):
    """What is neither a folder nor a known commit is refused, with the known ones."""
    with pytest.raises(
        UserError, match=r"'nowhere' is no folder, and .* holds no run of such a commit; .*aaaaaaaaaaaa"
    ):
        differences.diff("nowhere", "nowhere", measured[0])


def test_exports_hold_the_same_rows(measured, tmp_path):
    """CSV, Parquet and JSON give back the rows of a store; LaTeX has a table."""
    store, _ = measured
    files = {path.name: path for path in export(store, tmp_path, ["csv", "parquet", "json", "latex"])}
    tables = [
        pd.read_csv(files["results.csv"], keep_default_na=False, na_values=[""]),
        pd.read_parquet(files["results.parquet"]),
        pd.DataFrame(json.loads(files["results.json"].read_text())),
    ]
    for table in tables:
        assert len(table) == len(tables[0])
        assert table["value"].astype(float).sum() == pytest.approx(tables[1]["value"].sum(), rel=1e-9)
    assert r"\begin{table}" in files["tables.tex"].read_text()
    with pytest.raises(UserError, match="did you mean 'latex'"):
        export(store, tmp_path, ["latx"])
    with pytest.raises(UserError, match="are those of LaTeX tables; got the format csv"):
        export(store, tmp_path, ["csv"], TableOptions(["variance"]))
    with pytest.raises(UserError, match="holds no results"):
        export(tmp_path / "none", tmp_path, ["csv"])


def test_the_commands_answer(measured, tmp_path):
    """Each command of the store's upkeep does its work and exits as it says."""
    store, rows = measured
    folder = write(tmp_path / "run", rows)
    listed = call("cache", "list", "--store", store)
    assert "gradient of rloo on toy[units=5], seed 0" in listed.output
    assert "9 cells" in listed.output
    assert "0 were damaged" in call("cache", "verify", "--store", store).output
    assert "0 files removed" in call("cache", "prune", "--store", store).output
    assert "9 cells taken" in call("merge", store, "--into", tmp_path / "joined").output
    assert "results.csv" in call("export", folder).output
    same = call("diff", folder, store)
    assert (same.exit_code, "worse" in same.output) == (0, False)


def test_a_plan_says_what_is_kept_and_how_long_the_rest_may_take(measured, tmp_path):
    """Kept cells are told from those to measure and to go on with; times come from cells alike; nothing is written."""
    store, _ = measured
    before = sorted(store.rglob("*"))
    suite = tmp_path / "mine.toml"
    suite.write_text("\n".join(f"{key} = {json.dumps(value)}" for key, value in SUITE.items()))
    kept = call("plan", suite, "--store", store)
    assert kept.output.count("kept ") == 9
    assert "9 cells, 9 of them kept. Nothing is left to measure." in kept.output
    more = call("plan", suite, "--store", store, "--measures", "training[steps=8]", "--seeds", "4")
    assert more.output.count("continue ") == 6
    assert more.output.count("measure ") == 2
    assert "About " in more.output
    assert "not known" in call("plan", suite, "--store", tmp_path / "empty").output
    assert sorted(store.rglob("*")) == before
    assert not (tmp_path / "empty").exists()


def test_the_environment_is_shown_and_kept(measured):
    """``estbench env`` shows commit, processor, GPU, threads, BLAS and versions; each cell keeps its machine."""
    shown = json.loads(call("env", "--json").output)
    assert {"commit", "dirty", "cpu", "cores", "gpu", "driver", "threads", "blas", "versions"} <= shown.keys()
    assert shown["cores"] == os.cpu_count()
    store, _ = measured
    about = Store(store).load(next(Store(store).files())).about
    assert about["machine"]["cpu"] == environment()["cpu"]
    assert len(about["commit"] or "") in (0, 40)
