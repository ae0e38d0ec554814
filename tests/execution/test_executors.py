import itertools
import os
import re
import signal
import threading
import time
import tomllib
from pathlib import Path

import pytest

from estbench.errors import UserError
from estbench.execution.executors import elsewhere, make
from estbench.execution.executors.base import Executor
from estbench.execution.runner import CellWork, run
from estbench.planning.plan import Plan
from estbench.plugins.registry import parts
from estbench.plugins.spec import Spec
from estbench.store.store import Store
from tests.support import PATIENCE, ROOT, example
from tests.support.plans import plan_of
from tests.support.plugins_at_fault import write

FOLDER = ROOT / "estbench" / "execution" / "executors"
SMALL = {"tasks": ["toy"], "measures": ["training[steps=4]"], "device": "cpu"}


def plan(files=(), **changes):
    return plan_of({**SMALL, **changes}, files)


def done(plan, folder, executor, **options):
    """What came of each estimator, and the order of cells."""
    store = Store(folder)
    work, where = CellWork(plan.plugins, folder, **options), make(Spec.one(executor), None, "cpu")
    results = [(cell, result) for cell, result, _ in run(plan, store, where, work)]
    assert len(list(store.files())) == len(plan.cells)
    return results


def reasons(results):
    return {str(cell.estimators[0]): " ".join(result.failures) for cell, result in results}


def figures(results):
    """Everything but seconds."""
    rows = {str(cell): result.rows.drop(columns="seconds") for cell, result in results if not cell.joint}
    return {cell: table.to_csv(index=False) for cell, table in sorted(rows.items())}


MEASURES = ["training[steps=4,evaluations=2]", "gradient[replicates=64,after=4]", "speed[blocks=6,seconds=0.0001]"]


@pytest.fixture(scope="module")
def inline(tmp_path_factory):
    """What cells of every kind give in this process."""
    return done(plan(measures=MEASURES, estimators=["rloo", "nvil"]), tmp_path_factory.mktemp("inline"), "inline")


def alone(results):
    """Whether nothing else was measured while a timing cell was."""
    spans = {True: [], False: []}
    for cell, result in results:
        end = result.about["finished"]
        spans[cell.joint].append((end - result.about["seconds"], end))
    pairs = [*itertools.combinations(spans[True], 2), *itertools.product(*spans.values())]
    return all(one[1] < other[0] + 0.01 or other[1] < one[0] + 0.01 for one, other in pairs)


RAY, SLURM = "ray[workers=2]", "slurm[cluster=local,workers=2,cells=3,logs={logs}]"


@pytest.mark.parametrize(
    ("executor", "package"), [pytest.param(RAY, "ray", marks=pytest.mark.long), (SLURM, "submitit")]
)
def test_ray_and_slurm_measure_what_this_process_does(executor, package, tmp_path):
    """A comparison of one estimator has the rows of the inline executor; what else may happen there is tested below."""
    pytest.importorskip(package, reason=f"{package} is not installed")
    small = plan(estimators=["rloo"])
    found = done(small, tmp_path / "store", executor.format(logs=tmp_path / "logs"))
    assert figures(found) == figures(done(small, tmp_path / "inline", "inline"))
    assert len(found) == len(small.cells) > 0


@pytest.mark.xdist_group("inline")
@pytest.mark.parametrize(
    ("executor", "package", "death"),
    [
        ("local[workers=2]", "joblib", "its worker process died: SIGABRT"),
        pytest.param(RAY, "ray", "its worker process died", marks=pytest.mark.long),
        pytest.param(SLURM, "submitit", "its job died", marks=pytest.mark.long),
    ],
)
def test_every_executor_gives_the_same_numbers(executor, package, death, inline, tmp_path):
    """Two workers yield the rows of the inline executor, timing cells last; cells that kill theirs fail alone."""
    pytest.importorskip(package, reason=f"{package} is not installed")
    mixed = plan(write(tmp_path, "dies"), measures=MEASURES, estimators=["rloo", "dies", "nvil"])
    cells = tuple(cell for cell in mixed.cells if not cell.joint)
    timing = plan(tasks=["toy", "coins"], measures=["speed[blocks=6,seconds=0.0001]"], estimators=["rloo", "nvil"])
    both = Plan((*cells, *timing.cells), (*mixed.sources[: len(cells)], *timing.sources), mixed.plugins)
    results = done(both, tmp_path / "store", executor.format(logs=tmp_path / "logs"))
    assert [cell.joint for cell, _ in results] == [False] * len(cells) + [True] * 2
    assert alone(results)
    good = [(cell, result) for cell, result in results if "dies" not in str(cell)]
    assert figures(good) == figures(inline)
    assert not any(result.failures for _, result in good)
    bad = [reason for cell, result in results if "dies" in str(cell) for reason in result.failures]
    assert len(bad) == 2
    assert all(reason.startswith(death) for reason in bad)


def timeout_for(executor, folder):
    """Seconds after which a cell hangs: many times what a good one takes here and now, however busy the machine."""
    good = plan(write(folder, "good"), estimators=["good"])
    ((_, result),) = done(good, folder / "timed", executor)
    return max(5.0, 10 * result.about["seconds"])


# a pattern for the reason of each plugin's cell
SAID = {
    "hangs": ".*longer than the --timeout of .*",
    "stubborn": ".*longer than the --timeout of .*",
    "exits": "it tried to exit the interpreter, with 3",
    "dies": "its worker process died: SIGABRT.*",
    "leaves": "it tried to exit the interpreter, with 9",
    "forks": "",
    "shouts": "",
    "not_a_number": ".*is nan after.*",
    "good": "",
}


@pytest.mark.long
def test_whatever_a_plugin_does_the_others_go_on(tmp_path, capfd):
    """Plugins that hang, exit, die, fork, shout or return NaN cost nobody else anything, and nothing is printed."""
    broken = plan(write(tmp_path, *SAID), estimators=list(SAID))
    timeout = timeout_for("local[workers=2]", tmp_path)
    found = reasons(done(broken, tmp_path / "store", "local[workers=2]", timeout=timeout))
    assert set(found) == set(SAID)
    for name, said in SAID.items():
        assert re.fullmatch(said, found[name], re.DOTALL), (name, found[name])
    printed = capfd.readouterr()
    assert "noise" not in printed.out + printed.err


def test_inline_survives_all_but_death(tmp_path, capfd):
    """In one process too, plugins that hang, exit, fork or shout cost nobody else anything."""
    names = ("hangs", "exits", "leaves", "forks", "shouts", "not_a_number", "good")
    found = reasons(
        done(
            plan(write(tmp_path, *names), estimators=list(names)),
            tmp_path / "store",
            "inline",
            timeout=timeout_for("inline", tmp_path),
        )
    )
    assert found["good"] == found["shouts"] == found["forks"] == ""
    assert "longer than the --timeout" in found["hangs"]
    assert "is nan after" in found["not_a_number"]
    assert (found["exits"], found["leaves"]) == tuple(f"it tried to exit the interpreter, with {n}" for n in (3, 9))
    printed = capfd.readouterr()
    assert "noise" not in printed.out + printed.err


def test_a_killed_worker_is_a_failed_row(tmp_path):
    """SIGKILL from outside is told as such; the next cell of that place has a new worker."""
    names = ("hangs", "good")
    slow = plan(write(tmp_path, *names), estimators=list(names))

    def kill():
        pause = time.monotonic() + PATIENCE / 2
        while time.monotonic() < pause:
            for child in children(os.getpid()):
                if "loky.backend.popen" in command(child):
                    time.sleep(0.5)
                    os.kill(child, signal.SIGKILL)
                    return
            time.sleep(0.1)

    thread = threading.Thread(target=kill)
    thread.start()
    found = reasons(done(slow, tmp_path / "store", "local[workers=1]"))
    thread.join()
    assert "SIGKILL" in found["hangs"]
    assert found["good"] == ""


def children(process):
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def command(process):
    return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")


def test_workers_see_one_gpu_each(tmp_path):
    """With two GPUs to share out, two workers see the first and the second as their only one."""
    file = tmp_path / "looks.py"
    note = f"import pathlib; pathlib.Path({str(tmp_path)!r}, 'gpu-' + os.environ['CUDA_VISIBLE_DEVICES']).touch()"
    source = Path(write(tmp_path, "good")[0]).read_text()
    file.write_text(source.replace("pass", f"{note}; time.sleep(1)").replace("Good", "Looks"))
    looking = plan((str(file),), estimators=["looks"], seeds=2, measures=["training[steps=1]"])
    done(looking, tmp_path / "store", "local[gpus=2]")
    assert {path.name for path in tmp_path.glob("gpu-*")} == {"gpu-0", "gpu-1"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lokal", "did you mean 'local'"),
        ("local[worker=2]", "did you mean 'workers'"),
        ("local[workers=-1]", "cannot be negative; got workers=-1"),
    ],
)
def test_a_mistaken_executor_is_refused(text, message):
    """The nearest name or option is offered, and values are checked."""
    with pytest.raises(UserError, match=message):
        make(Spec.one(text), None, "cpu")


def test_an_executor_that_is_not_installed_says_how_to_get_it(monkeypatch):
    """Without its package the message names the extra."""
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    monkeypatch.delitem(__import__("sys").modules, "estbench.execution.executors.ray", raising=False)
    with pytest.raises(UserError, match=r"pip install 'estbench\[ray\]'"):
        make(Spec("ray"), None, "cpu")


def test_every_file_of_the_folder_is_an_executor():
    """Each holds one concrete executor, named as the file."""
    found = parts("executor")
    assert not found.problems
    assert set(found.plugins) == {path.stem for path in FOLDER.glob("[a-z]*.py")} - {"base"}
    assert issubclass(found["local"].load(), Executor)


@pytest.mark.parametrize(("name", "expected"), [("ray", True), ("slurm", True), ("local", False), ("auto", False)])
def test_an_executor_declares_whether_cells_run_elsewhere(name, expected):
    """It is read from the source: packages that the executor needs may be missing."""
    assert elsewhere(name) is expected


@pytest.mark.xdist_group("inline")
@pytest.mark.parametrize("names", [["rloo"], pytest.param(["dies", "rloo"], marks=pytest.mark.long)])
def test_the_documented_executor_measures(names, install, inline, tmp_path):
    """The example of the how-to page, installed: its numbers are those of inline, and cells that die fail alone."""
    points = tomllib.loads(example("docs/how-to/executors.md", "executor entry point"))["project"]["entry-points"]
    text = example("docs/how-to/executors.md", "executor")
    install("my_package", "estbench.executors", points["estbench.executors"], "my_executors", text)
    with pytest.raises(UserError, match="takes long to start a GPU; got cuda"):
        make(Spec("fresh"), None, "cuda")
    asked = plan(write(tmp_path, "dies"), estimators=names, measures=MEASURES[:1])
    results = done(asked, tmp_path / "store", "fresh[method=spawn]")
    found = reasons(results)
    assert found == {name: "its process died, or was out of time" if name == "dies" else "" for name in names}
    good = figures([(cell, result) for cell, result in results if "dies" not in str(cell)])
    assert good
    assert good.items() <= figures(inline).items()
