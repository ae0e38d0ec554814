import contextlib
import io
import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pandas as pd
import pytest

from estbench.cli.main import app
from estbench.cli.parsing import run
from tests.support import PATIENCE, WRONG

# they share one comparison
pytestmark = pytest.mark.xdist_group("cli")
COMMAND = Path(sysconfig.get_path("scripts")) / "estbench"
SMALL = [
    "--executor",
    "inline",
    "--tasks",
    "toy",
    "--measures",
    "training[steps=4],gradient[replicates=64,after=0]",
    "--device",
    "cpu",
]

MINE = '''"""Half: a baseline of one half."""

import torch

from estbench import ScoreFunction


class Half(ScoreFunction):
    """REINFORCE with a constant baseline."""

    unbiased = True
    paper = ""

    def baseline(self, name, node, cost):
        return torch.full_like(cost, 0.5)
'''


def call(*arguments, cwd, **environment):
    """A command in this process, which saves the imports; the exit code and what it printed."""
    arguments, out, err = [str(argument) for argument in arguments], io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.chdir(cwd)
        patch.setattr(sys, "argv", [str(COMMAND), *arguments])
        for name, value in {"COLUMNS": "200", **environment}.items():
            patch.setenv(name, value)
        code = run(app, arguments)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def installed(*arguments, cwd, **environment):
    """The installed command, in a process of its own."""
    command = [str(COMMAND), *map(str, arguments)]
    known = {**os.environ, "COLUMNS": "200", **environment}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=known, timeout=PATIENCE, check=False)


@pytest.fixture(scope="module", params=[False, pytest.param(True, marks=pytest.mark.long)], ids=["here", "installed"])
def compared(request, svg_only_in_module, tmp_path_factory):
    """A comparison with a plugin file, run once in this process, and once by the installed command."""
    folder = tmp_path_factory.mktemp("compared")
    (folder / "half.py").write_text(MINE)
    done = (installed if request.param else call)(
        "compare",
        *SMALL,
        "--estimators",
        "half,rl*[samples=2,3],arm",
        "-e",
        "half.py",
        "--out",
        "out",
        cwd=folder,
    )
    return folder, done


def test_compare_writes_everything_it_promises(compared):
    """The command exits with 0 and leaves tables, environment, figures, report and page."""
    folder, done = compared
    assert done.returncode == 0, done.stderr
    out = folder / "out"
    for name in ("results.parquet", "results.csv", "environment.json", "report.md", "index.html"):
        assert (out / name).stat().st_size > 0
    assert {path.suffix for path in (out / "figures").iterdir()} >= {".svg", ".png"}
    assert "Traceback" not in done.stderr
    assert "out/index.html" in done.stdout


def test_compare_measured_the_plugin_beside_the_built_in_ones(compared):
    """Parquet and CSV hold the same rows of all four estimators, the user's own among them."""
    folder, _ = compared
    table = pd.read_parquet(folder / "out" / "results.parquet")
    assert set(zip(table["estimator"], table["params"], strict=True)) == {
        ("half", "{}"),
        ("arm", "{}"),
        ("rloo", '{"samples": 2}'),
        ("rloo", '{"samples": 3}'),
    }
    assert len(pd.read_csv(folder / "out" / "results.csv")) == len(table)
    about = json.loads((folder / "out" / "environment.json").read_text())
    assert about["versions"]["torch"] != "not installed"
    assert about["command"].startswith("estbench compare --executor inline --tasks toy")


def test_the_same_comparison_again_measures_nothing(compared, svg_only):
    """Finished cells are kept: the second run gives the very same rows."""
    folder, _ = compared
    done = call(
        "compare",
        *SMALL,
        "--estimators",
        "half,rl*[samples=2,3],arm",
        "-e",
        "half.py",
        "--out",
        "two",
        cwd=folder,
    )
    assert done.returncode == 0
    assert "kept" in done.stderr
    one, two = (pd.read_parquet(folder / name / "results.parquet") for name in ("out", "two"))
    pd.testing.assert_frame_equal(one, two)


def test_a_report_can_be_written_again_from_its_results(compared, svg_only):
    """``estbench report`` makes page and figures from the results of a run."""
    folder, _ = compared
    page = folder / "out" / "index.html"
    page.unlink()
    done = call("report", "out", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert page.exists()
    assert call("report", "nowhere", cwd=folder).returncode == 2


def test_a_failing_plugin_makes_the_exit_code_1_and_costs_the_others_nothing(svg_only, tmp_path):
    """The failure is on stderr in one line; the other estimator's rows are there."""
    (tmp_path / "half.py").write_text(MINE.replace("torch.full_like(cost, 0.5)", "cost.nothing"))
    done = call("compare", *SMALL, "--estimators", "half,rloo", "-e", "half.py", "--out", "out", cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "AttributeError" in done.stderr
    table = pd.read_parquet(tmp_path / "out" / "results.parquet")
    statuses = {name: set(own["status"]) for name, own in table.groupby("estimator")}
    assert statuses["half"] == {"failed"}
    # so few replicates may not resolve its variance
    assert "ok" in statuses["rloo"]
    assert statuses["rloo"] <= {"ok", "unresolved"}


def test_a_dry_run_prints_the_cells_and_measures_nothing(tmp_path):
    """``--dry-run`` names each cell."""
    done = call("compare", *SMALL, "--estimators", "rloo", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0
    assert "training of rloo on toy, seed 0" in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "--estimators", "rlo"], "unknown estimator 'rlo'; did you mean 'rloo'?"),
        (["compare", "--tasks", "toy[unit=3]"], "toy has no option 'unit'; did you mean 'units'?"),
        (["compare", "--suite", "none.toml"], "suite none.toml: No such file"),
        (["compare", "--seeds", "x"], "--seeds takes a number"),
        (["compare", "--device", "gpu"], "device: "),
        (["compare", "-e", "none.py"], "no such plugin file: "),
        (["info", "rlo"], "did you mean 'rloo'?"),
        (["list", "thing"], "unknown kind 'thing'"),
        (["data", "fetch", "mnits"], "did you mean 'mnist'?"),
    ],
)
def test_a_mistake_is_one_line_on_stderr(arguments, message, tmp_path):
    """Exit code 2, nothing on stdout, no traceback, nothing written."""
    done = call(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_list_shows_every_kind_and_imports_no_torch(tmp_path):
    """The lists come from the sources alone."""
    done = call("list", cwd=tmp_path)
    assert done.returncode == 0
    assert all(name in done.stdout for name in ("Estimators", "rloo", "Tasks", "vae", "Measures", "gradient"))
    code = (
        "import sys; from estbench.cli.main import app; "
        "app(['list'], standalone_mode=False); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_list_takes_less_of_the_processor_than_importing_torch(tmp_path):
    """``list`` answers with less time of the processor than torch alone takes to import, however busy the machine."""

    def seconds(*command):
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return used.ru_utime + used.ru_stime

    assert seconds(COMMAND, "list") < seconds(sys.executable, "-c", "import torch")


def test_info_shows_options_with_types_and_defaults(tmp_path):
    """A plugin's page has its docstring, options and declarations."""
    done = call("info", "rloo", cwd=tmp_path)
    assert done.returncode == 0
    assert "leave-one-out" in done.stdout
    assert "samples  int   2" in done.stdout
    assert "unbiased" in done.stdout


def test_check_prints_verdicts_and_fails_on_a_wrong_estimator(tmp_path):
    """A correct estimator exits with 0; one with the wrong sign with 1, and the check meant for it says so."""
    wrong = WRONG / "flipped_sign.py"
    done = call("check", "exact", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "FAILED" not in done.stdout
    done = call("check", "-e", wrong, cwd=tmp_path)
    assert done.returncode == 1
    assert "declared unbiased, it is biased" in done.stdout
    assert call("check", cwd=tmp_path).returncode == 2


def test_new_writes_a_package_once(tmp_path):
    """``new`` writes a package, and refuses to write over it."""
    assert call("new", "estimator", "my_own", cwd=tmp_path).returncode == 0
    assert (tmp_path / "estbench-my-own" / "pyproject.toml").is_file()
    done = call("new", "estimator", "my_own", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_data_list_says_where_the_data_is(tmp_path):
    """Data in the folder of ESTBENCH_DATA is shown with its path, and missing data with what to do."""
    folder = tmp_path / "mnist"
    folder.mkdir()
    missing = call("data", "list", cwd=tmp_path, XDG_CACHE_HOME=str(tmp_path / "none"), ESTBENCH_DATA="")
    assert "estbench data fetch mnist" in missing.stdout
    for name in ("train-images", "t10k-images"):
        (folder / f"{name}-idx3-ubyte.gz").touch()
    for name in ("train-labels", "t10k-labels"):
        (folder / f"{name}-idx1-ubyte.gz").touch()
    assert str(folder) in call("data", "list", cwd=tmp_path, ESTBENCH_DATA=str(tmp_path)).stdout


def test_version_is_that_of_the_package(tmp_path):
    """``--version`` agrees with the installed metadata."""
    from importlib.metadata import version

    assert installed("--version", cwd=tmp_path).stdout.strip() == f"estbench {version('estbench')}"
