import ast
import json
import shutil
import subprocess

import pytest

from benchmarks import _subject
from benchmarks.estimators import Cost, Learning, Quality, Step
from benchmarks.manifest import ESTIMATORS, TASKS
from estbench.plugins.registry import discover
from tests.support import ROOT

TOY = "toy[units=5]"


@pytest.fixture
def few(monkeypatch):
    """Few replicates and seeds."""
    monkeypatch.setitem(TASKS, TOY, 4096)
    monkeypatch.setattr(Learning, "seeds", 2)
    monkeypatch.setattr(Cost, "blocks", 6)


def values(cls, method, name, task=TOY):
    made = cls()
    made.setup(name, task)
    result = getattr(made, method)(name, task)
    return result["samples"] if isinstance(result, dict) else [result]


def test_the_manifest_holds_every_built_in_estimator_once():
    """Parameters are stored by position, so each built-in must have a place of its own."""
    assert len(set(ESTIMATORS)) == len(ESTIMATORS)
    built_in = [name for name, plugin in discover("estimator").plugins.items() if plugin.origin == "built-in"]
    missing = [name for name in built_in if name not in ESTIMATORS]
    assert not missing, f"`make enter` appends {', '.join(missing)} to benchmarks/manifest.py"


def names(source):
    """Estimators and tasks of a version of the manifest."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign):
            found[node.targets[0].id] = list(ast.literal_eval(node.value))
    return found


def git(*arguments):
    return subprocess.run(["git", *arguments], capture_output=True, text=True, cwd=ROOT, check=True).stdout


@pytest.mark.skipif(not (ROOT / ".git").exists() or not shutil.which("git"), reason="no git repository here")
def test_the_manifest_has_only_ever_grown_at_its_end():
    """On the main line the lists were beginnings of what they are now; on merged branches they had the same order."""
    now = names((ROOT / "benchmarks" / "manifest.py").read_text())
    main_line = set(git("log", "--first-parent", "--format=%H").split())
    for commit in git("log", "--format=%H", "--", "benchmarks/manifest.py").split():
        for kind, old in names(git("show", f"{commit}:benchmarks/manifest.py")).items():
            # two branches that grow side by side have different ends until they are merged
            kept = now[kind][: len(old)] if commit in main_line else [name for name in now[kind] if name in old]
            assert kept == old, f"{kind} of {commit[:8]}"


def test_names_that_changed_places_would_be_seen():
    """The lists are read from the source in order, so that a swap shows."""
    assert names('A = ("b", "a")\nT = {"x": 1}') == {"A": ["b", "a"], "T": ["x"]}


def test_every_benchmark_has_an_explicit_version_and_a_name_in_words():
    """Without a version asv takes a hash of the source, and any edit cuts the history; its pages show the name."""
    discovery = pytest.importorskip("asv_runner.discovery")
    found = list(discovery.disc_benchmarks(str(ROOT / "benchmarks")))
    assert {benchmark.name.partition(".")[0] for benchmark in found} == {"engine", "estimators", "interface", "moments"}
    assert all(len(benchmark.version) < 10 for benchmark in found), [b.name for b in found if len(b.version) >= 10]
    assert all(" " in (benchmark.pretty_name or "") for benchmark in found), [b.name for b in found]
    assert len({benchmark.pretty_name for benchmark in found}) == len(found)


def test_the_configuration_installs_the_tested_versions_without_cuda():
    """Environments come from constraints.txt, torch from the index of processor builds; one server forks."""
    config = json.loads((ROOT / "asv.conf.json").read_text())
    (command,) = config["install_command"]
    assert "-c {conf_dir}/constraints.txt" in command
    assert config["launch_method"] == "forkserver"
    assert config["branches"] == ["HEAD"]


@pytest.mark.parametrize("name", ["rloo", "exact", "gumbel_softmax"])
def test_figures_are_positive_and_repeat(few, name):
    """Fixed seeds: a second measurement gives the very same variance, error and loss, all above zero."""
    for cls, method in ((Quality, "track_variance"), (Quality, "track_error"), (Learning, "track_loss")):
        once = values(cls, method, name)
        assert min(once) > 0
        assert once == values(cls, method, name)


def test_the_error_shows_a_bias(few):
    """The biased estimator's error is far above what its variance explains; the unbiased one's is not."""
    for name, expected in (("gumbel_softmax", False), ("rloo", True)):
        variance = sum(values(Quality, "track_variance", name)) / 32
        error = sum(values(Quality, "track_error", name)) / 8
        assert (error < 4 * variance / (4096 / 8)) == expected


def test_costs_are_positive(few):
    """Relative time has a sample for each block; memory is counted in bytes."""
    assert len(values(Cost, "track_relative_time", "rloo")) == 6
    assert min(values(Cost, "track_relative_time", "rloo")) > 0
    assert values(Cost, "track_peak_memory", "rloo")[0] > 0


@pytest.mark.parametrize(("name", "task"), [("not_there_yet", TOY), ("exact", "vae"), ("rloo", "not_there_yet")])
def test_what_a_commit_lacks_or_cannot_do_is_not_applicable(name, task):
    """NotImplementedError in setup is asv's n/a: a missing name, and an estimator that a task does not admit."""
    for cls in (Step, Cost, Quality, Learning):
        with pytest.raises(NotImplementedError):
            cls().setup(name, task)


@pytest.mark.parametrize(
    ("method", "task", "skipped"),
    [("track_error", "vae", True), ("track_variance", "vae", False), ("track_error", TOY, False)],
)
def test_a_reference_that_cannot_be_enumerated_is_not_applicable(method, task, skipped):
    """Where there is no exact gradient the error is skipped; raised outside a setup it would be a failure to asv."""
    discovery = pytest.importorskip("asv_runner.discovery")
    found = discovery.get_benchmark_from_name(str(ROOT / "benchmarks"), f"estimators.Quality.{method}")
    place = ESTIMATORS.index("rloo") * len(TASKS) + list(TASKS).index(task)
    found.set_param_idx(place)
    assert bool(found.do_setup()) == skipped


def test_setup_is_cheap_the_second_time():
    """Setup runs before every timed call, so the subject is made once."""
    assert _subject.ready("rloo", TOY) is _subject.ready("rloo", TOY)
