import json
import math
import os
import shutil
import subprocess
import sys

import pandas as pd
import pytest

from estbench.errors import UserError
from estbench.store.records import COLUMNS
from estbench.tracking import asv_files, tracked_values
from estbench.tracking.init import init
from estbench.tracking.tracked_values import Key
from estbench.tracking.write import MANIFEST, results_folder, track
from tests.support import PATIENCE, ROOT

pytest.importorskip("asv")
needs_git = pytest.mark.skipif(not shutil.which("git"), reason="no git here")
VARIANCE = "gradient.variance_logits_after_0"
ERROR = "gradient.error_logits_after_0"


def row(estimator, metric, value, measure="gradient", seed=0, **more):
    usual = {"task": "toy", "params": "{}", "device": "cpu", "dtype": "float32", "step": 0, "n": 64, "status": "ok"}
    ends = {"low": value * 0.9, "high": value * 1.1, "seconds": math.nan, "unit": "", "error": ""}
    own = {"estimator": estimator, "metric": metric, "value": value, "measure": measure, "seed": seed}
    return usual | ends | own | more


def usual_rows(factor=1.0):
    rows = [
        row("rloo", "variance/logits", 2.0 * factor),
        row("rloo", "squared_bias/logits", -0.001, low=-0.002, high=0.001),
        row("rloo", "snr/logits", 3.0),
        row("rloo", "peak_memory", 1000.0, "speed", unit="B"),
        row("arm", "variance/logits", 4.0),
        row("arm", "", math.nan, "training", status="failed", error="it | exploded"),
        row("exact", "", math.nan, "gradient", status="not applicable", error="too large"),
    ]
    for seed in range(4):
        rows += [row("rloo", "elbo_test", -30.0, "training", seed, step=10)]
        rows += [row("rloo", "elbo_test", -27.0 - seed / 10, "training", seed, step=20, unit="nats")]
    return rows


def write_run(folder, rows, commit, **about):
    folder.mkdir(parents=True)
    pd.DataFrame(rows, columns=list(COLUMNS)).to_parquet(folder / "results.parquet")
    known = {
        "commit": commit,
        "dirty": False,
        "cpu": "Some CPU @ 2 GHz",
        "cores": 2,
        "gpu": "NVIDIA H200, 139 GiB, CUDA 13",
        "platform": "Linux-6-x86_64-with-glibc",
        "python": "3.11.7",
        "versions": {"torch": "2.13.0"},
        "suite": {"device": "cpu", "dtype": "float32"},
    }
    (folder / "environment.json").write_text(json.dumps(known | about))
    return folder


def git(folder, *arguments):
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    """A repository with two commits, and asv's configuration."""
    git(tmp_path, "init", "--quiet")
    init(tmp_path)
    for number in range(2):
        (tmp_path / "file").write_text(str(number))
        git(tmp_path, "add", "--all")
        os.environ.pop("GIT_COMMITTER_DATE", None)
        git(tmp_path, "commit", "--quiet", "--message", str(number))
    return tmp_path


def commits(repository):
    return git(repository, "log", "--reverse", "--format=%H").split()


def asv(repository, *arguments):
    command = [sys.executable, "-m", "asv", *arguments]
    known = {**os.environ, "HOME": str(repository), "COLUMNS": "300"}
    done = subprocess.run(
        command, cwd=repository, env=known, capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    return done.stdout


def test_figures_of_a_run_are_positive_and_the_better_the_lower(tmp_path):
    """An ELBO is tracked as its negative, at the last step only; what is better the higher is left out."""
    found = tracked_values.of_run(write_run(tmp_path / "run", usual_rows(), "0" * 40))
    ok = {
        key.benchmark: figure for key, figure in found.items() if figure.status == "ok" and key.parameters[0] == "rloo"
    }
    assert set(ok) == {VARIANCE, ERROR, "speed.peak_memory", "training.negative_elbo_test_after_20"}
    assert ok["training.negative_elbo_test_after_20"].samples == (27.0, 27.1, 27.2, 27.3)
    assert all(figure.value > 0 for figure in ok.values())


def test_the_error_is_squared_bias_plus_the_noise_that_is_left(tmp_path):
    """A negative estimate of the squared bias becomes a positive value with its interval."""
    found = tracked_values.of_run(write_run(tmp_path / "run", usual_rows(), "0" * 40))[Key(ERROR, ("rloo", "toy"))]
    assert found.value == pytest.approx(2 / 64 - 0.001)
    assert (found.low, found.high) == (pytest.approx(2 / 64 - 0.002), pytest.approx(2 / 64 + 0.001))
    assert found.version == "1 n=64"


def test_one_failed_seed_is_a_failure(tmp_path):
    """Three good seeds do not hide the fourth, which failed."""
    rows = [*usual_rows(), row("rloo", "", math.nan, "training", 7, status="failed", error="nan")]
    found = tracked_values.of_run(write_run(tmp_path / "run", rows, "0" * 40))
    assert found[Key("training.negative_elbo_test_after_20", ("rloo", "toy"))].status == "failed"


def test_a_figure_below_zero_is_refused_with_a_reason(tmp_path):
    """An unchanged -2.7 would be an improvement to asv."""
    rows = [row("rloo", "loss_test", -2.7, "training", low=-3.0, high=-2.0)]
    found = tracked_values.of_run(write_run(tmp_path / "run", rows, "0" * 40))
    assert found[Key("training.loss_test_after_0", ("rloo", "toy"))].error == (
        "-2.7 is not positive, so that asv cannot track it"
    )


def test_a_measure_done_twice_is_refused(tmp_path):
    """Two results of one kind cannot be told apart in the history."""
    rows = [row("rloo", "variance/logits", value) for value in (1.0, 2.0)]
    with pytest.raises(UserError, match="rloo on toy has two results of variance/logits"):
        tracked_values.of_run(write_run(tmp_path / "run", rows, "0" * 40))


@needs_git
def test_asv_publishes_and_compares_what_was_tracked(repository):
    """The results of two commits, and their labels, come out of asv's own commands."""
    for number, commit in enumerate(commits(repository)):
        rows = usual_rows(1 + number)
        track(write_run(repository / f"run{number}", rows, commit), repository=repository)
    compared = asv(repository, "compare", "HEAD~1", "HEAD")
    (line,) = [line for line in compared.splitlines() if f"{VARIANCE}('rloo', 'toy')" in line]
    assert line.split("|")[1].strip() == "+" and "2.00" in line
    (line,) = [line for line in compared.splitlines() if f"{VARIANCE}('arm', 'toy')" in line]
    assert "1.00" in line
    (line,) = [line for line in compared.splitlines() if "elbo" in line and "'arm', 'toy'" in line]
    assert "failed" in line
    asv(repository, "publish", "--no-pull")
    index = json.loads((repository / ".asv" / "html" / "index.json").read_text())
    assert set(index["revision_to_hash"].values()) == set(commits(repository))
    assert [machine["gpu"] for machine in index["machines"].values()] == ["NVIDIA H200, 139 GiB, CUDA 13"]


@needs_git
def test_a_difference_within_the_interval_is_noise_to_asv(repository):
    """The run's intervals reach asv: 10 % more, with 10 % either side, is marked as insignificant."""
    for number, commit in enumerate(commits(repository)):
        track(write_run(repository / f"run{number}", usual_rows(1 + number / 8), commit), repository=repository)
    compared = asv(repository, "compare", "HEAD~1", "HEAD", "--factor", "1.05")
    (line,) = [line for line in compared.splitlines() if f"{VARIANCE}('rloo', 'toy')" in line]
    assert "~1.12" in line and line.split("|")[1].strip() == ""


@needs_git
def test_samples_commit_and_versions_are_in_the_file(repository):
    """The result file holds each seed's value, the run's commit and the versions behind it."""
    commit = commits(repository)[1]
    done = track(write_run(repository / "run", usual_rows(), commit), repository=repository)
    content = json.loads(done.path.read_text())
    assert (content["commit_hash"], content["requirements"]) == (commit, {"torch": "2.13.0"})
    found = asv_files.of_file(done.path)
    key = Key("training.negative_elbo_test_after_20", ("rloo", "toy"))
    assert found[key].samples == (27.0, 27.1, 27.2, 27.3)
    assert found[key._replace(parameters=("arm", "toy"))].status == "failed"
    assert Key(VARIANCE, ("exact", "toy")) not in found
    single = found[Key(VARIANCE, ("rloo", "toy"))]
    assert (single.low, single.high) == (pytest.approx(1.8, rel=1e-3), pytest.approx(2.2, rel=1e-3))


@needs_git
def test_a_new_estimator_moves_no_label(repository):
    """A name that comes first in the alphabet goes last in the manifest, and old results keep their values."""
    one, two = commits(repository)
    first = track(write_run(repository / "run1", usual_rows(), one), repository=repository)
    before = asv_files.of_file(first.path)
    rows = [*usual_rows(), row("aardvark", "variance/logits", 77.0)]
    second = track(write_run(repository / "run2", rows, two), repository=repository)
    assert json.loads((repository / MANIFEST).read_text())["estimators"][-1] == "aardvark"
    assert second.notes[0].endswith("appended aardvark")
    assert asv_files.of_file(first.path) == before
    assert asv_files.of_file(second.path)[Key(VARIANCE, ("rloo", "toy"))].value == 2.0
    # the old commit again, with the new manifest: what it never had does not become a failure
    again = track(repository / "run1", repository=repository)
    assert asv_files.of_file(again.path) == before


@needs_git
def test_a_second_run_of_a_commit_adds_to_the_first(repository):
    """Results of other estimators stay when some are tracked again."""
    commit = commits(repository)[1]
    track(write_run(repository / "run1", usual_rows(), commit), repository=repository)
    done = track(write_run(repository / "run2", [row("rloo", "variance/logits", 9.0)], commit), repository=repository)
    found = asv_files.of_file(done.path)
    assert found[Key(VARIANCE, ("rloo", "toy"))].value == 9.0
    assert found[Key(VARIANCE, ("arm", "toy"))].value == 4.0


@needs_git
@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"commit": None}, "the run has no commit"),
        ({"commit": "../../etc"}, "the run has no commit"),
        ({"commit": "f" * 40}, "has no commit ffffffff, of which the run is"),
        ({"dirty": True}, "the run had changes that commit"),
    ],
)
def test_a_run_of_no_known_commit_is_refused(repository, about, message):
    """History is of commits, so a run must be of one that the repository has, without changes."""
    run = write_run(repository / "run", usual_rows(), **({"commit": commits(repository)[0]} | about))
    with pytest.raises(UserError, match=message):
        track(run, repository=repository)
    assert not results_folder(repository).exists()


@needs_git
def test_a_machine_cannot_lead_out_of_the_folder(repository):
    """A machine's name becomes that of a folder, whatever it holds."""
    run = write_run(repository / "run", usual_rows(), commits(repository)[0])
    done = track(run, repository=repository, machine="../../x y")
    assert done.path.parent == results_folder(repository) / "x-y"


def test_without_asv_one_line_says_what_to_install(tmp_path, monkeypatch):
    """The extra is optional; its absence is no traceback."""
    monkeypatch.setitem(sys.modules, "asv.results", None)
    with pytest.raises(UserError, match=r"pip install 'estbench\[track\]'"):
        track(tmp_path, tmp_path)


def test_a_folder_without_a_run_is_refused(tmp_path):
    """A wrong path is named."""
    with pytest.raises(UserError, match="holds no results of a comparison"):
        track(tmp_path, tmp_path)


def test_init_overwrites_nothing(tmp_path):
    """With one of the files there, none is written."""
    (tmp_path / "tracking.toml").write_text("mine")
    with pytest.raises(UserError, match=r"tracking\.toml already there; nothing was written"):
        init(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["tracking.toml"]
    assert (tmp_path / "tracking.toml").read_text() == "mine"


@needs_git
def test_what_tracking_leaves_behind_is_no_change_of_the_code(tmp_path):
    """Runs, stores and the history's folder are ignored, as a run of a changed tree is refused; .gitignore is kept."""
    git(tmp_path, "init", "--quiet")
    init(tmp_path)
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message", "tracking")
    for folder in ("runs/today", ".estbench", ".asv/html", ".tracking/results"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "file").write_text("")
    assert git(tmp_path, "status", "--porcelain") == ""
    for path in ("asv.conf.json", "tracking.toml", MANIFEST, ".github/workflows/tracking.yml"):
        (tmp_path / path).unlink()
    (tmp_path / ".gitignore").write_text("mine")
    init(tmp_path)
    assert (tmp_path / ".gitignore").read_text() == "mine"


@needs_git
def test_the_workflow_ignores_the_history_before_it_measures(tmp_path):
    """The history is a folder inside the checkout: without that line every run would be of a changed tree."""
    git(tmp_path, "init", "--quiet")
    init(tmp_path)
    (tmp_path / ".gitignore").unlink()
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message", "tracking")
    workflow = (tmp_path / ".github/workflows/tracking.yml").read_text()
    (line,) = [line.strip().partition("  #")[0] for line in workflow.splitlines() if "info/exclude" in line]
    assert workflow.index("info/exclude") < workflow.index("worktree add") < workflow.index("estbench compare")
    (tmp_path / ".tracking").mkdir()
    (tmp_path / ".tracking" / "file").write_text("")
    assert git(tmp_path, "status", "--porcelain")
    subprocess.run(line.strip(), shell=True, cwd=tmp_path, check=True)
    assert git(tmp_path, "status", "--porcelain") == ""


def test_what_init_writes_is_a_valid_suite(tmp_path):
    """The suite loads, and every name in it exists."""
    from estbench.planning import plan, suite
    from estbench.planning.resolved import ResolvedSuite
    from estbench.plugins.registry import Plugins

    init(tmp_path)
    wanted = suite.load_suite(str(tmp_path / "tracking.toml"), {})
    assert plan.make(ResolvedSuite.of(wanted, Plugins.found())).cells
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    assert manifest["estimators"] == suite.load_suite(str(tmp_path / "tracking.toml"), {}).estimators


@pytest.mark.long
@needs_git
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no git repository here")
def test_injected_changes_are_found_at_their_commits():
    """A slowdown, a doubled variance, a bias and a new plugin, in ten commits of a scratch clone."""
    command = [sys.executable, str(ROOT / "scripts" / "prove_tracking.py"), "--small"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-2:] == ["labels: all right", "PROVED"]
