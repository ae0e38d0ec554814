"""What a comparison costs beside its cells: how often plugins are searched for, and how often a file is imported."""

import contextlib
import os
import sys
from collections import Counter

import pytest

from estbench.plugins.registry import Plugins, discover
from estbench.plugins.spec import Spec
from estbench.workflows.comparison import run_comparison
from estbench.workflows.dry_run import preview
from estbench.workflows.request import Request

# a plugin that notes every time that it is imported, and by which process
NOTING = '''
import os
from pathlib import Path

from estbench import ScoreFunction

with Path({log!r}).open("a") as log:
    log.write(f"{{os.getpid()}}\\n")


class Noting(ScoreFunction):
    """The score function without a baseline."""

    unbiased = True
    paper = ""

    def baseline(self, name, node, cost):
        return cost.new_zeros(())
'''


class Quiet:
    """A watcher that shows nothing."""

    def planned(self, plan, candidates):
        pass

    @contextlib.contextmanager
    def measuring(self, cells):
        yield lambda cell, result, kept: None


@contextlib.contextmanager
def discoveries():
    """Counts the calls of ``discover``, from wherever and under whatever name it is called."""
    calls = []

    def note(frame, event, argument):
        if event == "call" and frame.f_code is discover.__code__:
            calls.append(frame.f_back.f_code.co_name)

    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(None)


@pytest.fixture
def noting(svg_only, tmp_path):
    """A plugin file, and a count of its imports by process."""
    log, file = tmp_path / "imports.txt", tmp_path / "noting.py"
    file.write_text(NOTING.format(log=str(log)))
    return file, lambda: Counter(log.read_text().split())


def request(folder, executor, estimators=("noting", "rloo")):
    suite = {
        "tasks": ["toy[units=2]"],
        "estimators": list(estimators),
        "measures": ["training[steps=2,evaluations=1,samples=0]"],
        "seeds": 1,
        "device": "cpu",
    }
    return Request("quick", suite, (), folder / "out", folder / "store", None, Spec.one(executor), ensemble="auto")


# what may ask code of a plugin anything before it is trusted to a cell: each a child that ends with its answer
LOOKS = 4


def test_a_comparison_discovers_each_kind_once_and_imports_a_file_once(noting, tmp_path):
    """Two cells, one of a plugin file: one discovery a kind from the request to the report, one import a process."""
    file, imports = noting
    with discoveries() as calls:
        found = run_comparison(request(tmp_path, "inline"), Plugins.found([file]), Quiet())
    assert len(found.results) == 2
    assert not any(result.failures for result in found.results.values())
    assert len(calls) <= 3
    counts = imports()
    assert counts[str(os.getpid())] == 1
    assert set(counts.values()) == {1}
    assert len(counts) <= 1 + LOOKS


def test_every_worker_imports_a_file_at_most_once(noting, tmp_path):
    """Worker processes are given what the driver found: each one imports the file for its first cell only.

    Beside them, a child for each of the six settings asks what the estimator declares with it; all settings are tried
    in one child.
    """
    file, imports = noting
    suite = ("noting[samples=1,2,3,4,5,6]",)
    run_comparison(request(tmp_path, "local[workers=2]", suite), Plugins.found([file]), Quiet())
    counts = imports()
    assert 2 <= len(counts) <= 2 + LOOKS + 6
    assert set(counts.values()) == {1}


def test_a_preview_discovers_each_kind_once(noting, tmp_path):
    """What would be measured is said without a second search."""
    file, _ = noting
    with discoveries() as calls:
        found = preview(request(tmp_path, "inline"), Plugins.found([file]))
    assert list(found.states.values()) == ["measure"] * 2
    assert len(calls) <= 3


def test_a_plan_carries_what_the_report_says_of_estimators(noting):
    """Options with their defaults, families and papers, as the plugins declare them."""
    from tests.support.plans import plan_of

    values = {"tasks": ["toy[units=2]"], "estimators": ["noting", "rloo[samples=3]"], "measures": ["speed"]}
    plan = plan_of(values, [noting[0]])
    assert plan.options["estimator"]["rloo[samples=3]"] == {"samples": 3}
    assert plan.options["task"]["toy[units=2]"]["units"] == 2
    assert plan.families == {"noting": "ScoreFunction", "rloo": "ScoreFunction"}
    assert set(plan.papers) == {"rloo"}
