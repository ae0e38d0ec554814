"""Instances keep their options, and the source of a class is that of the class itself or is refused."""

import copy
import functools
import pickle
import sys
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from estbench import ScoreFunction, Task, UserError, compare, discover, load_estimator, load_task
from estbench.api.own import known_plugins, named
from estbench.api.own_source import SourceText
from estbench.core.making import made_with
from estbench.measures.gradient import Gradient
from estbench.plugins.options import options_of


@functools.lru_cache
def remembered(scale):
    return scale / 2


unnamed = lambda cost: remembered(1.0) * cost  # noqa: E731
again = remembered


@dataclass(frozen=True)
class Scaling:
    """A helper beside the class."""

    by: float = 0.5


class Kept(ScoreFunction):
    """Keeps its option under another name, and uses a lambda, a cached function, an alias and a dataclass."""

    unbiased = False

    def __init__(self, shift: float = 0.5, samples: int = 2) -> None:
        super().__init__(samples)
        self._moved_by = 2 * shift

    def baseline(self, name, node, cost):
        return unnamed(cost.detach()) + again(self._moved_by) + Scaling().by


@dataclass(frozen=True)
class Frozen(Task):
    """A task that is a frozen dataclass, whose constructor has no source."""

    units: int = 2
    objective = "loss"
    baseline = "rloo"

    def model(self):
        raise NotImplementedError

    def splits(self):
        raise NotImplementedError


def spec_of(plugin, kind="estimator", folder=None):
    return str(named(plugin, kind, known_plugins([]), folder).spec)


@pytest.mark.parametrize(
    ("kind", "plugin", "text"),
    [
        ("estimator", lambda: load_estimator("gumbel_softmax", temperature=0.5), "gumbel_softmax[temperature=0.5]"),
        ("estimator", lambda: load_estimator("reinforce", normalise=True), "reinforce[normalise=true]"),
        ("estimator", lambda: load_estimator("arm"), "arm"),
        ("task", lambda: load_task("toy", units=3), "toy[units=3]"),
        ("measure", lambda: Gradient(replicates=64), "gradient[replicates=64]"),
        ("estimator", lambda: Kept(0.25, samples=3), "kept[samples=3,shift=0.25]"),
        ("estimator", lambda: Kept(np.float64(0.25)), "kept[shift=0.25]"),
        ("estimator", lambda: Kept(torch.tensor(0.25)), "kept[shift=0.25]"),
        ("estimator", Kept, "kept"),
        ("task", lambda: Frozen(units=4), "frozen[units=4]"),
    ],
)
def test_an_instance_is_named_with_the_options_it_was_made_with(kind, plugin, text, tmp_path):
    """However the constructor keeps an option; copies are alike, and the function that makes it is taken too."""
    made = plugin()
    for each in (made, plugin, copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert spec_of(each, kind, tmp_path) == text


def test_every_built_in_plugin_can_be_given_as_an_instance(tmp_path):
    """The options of an instance that was made without any are none, for each class that ships."""
    for kind in ("estimator", "task", "measure"):
        for name, plugin in discover(kind).plugins.items():
            cls = plugin.load()
            if not any(option.default is option.empty for option in options_of(cls).values()):
                assert spec_of(cls(), kind, tmp_path) == name


@pytest.mark.parametrize("cls", [type(load_estimator("arm")), type("Bare", (Task,), {})])
def test_a_class_without_constructor_takes_no_arguments(cls):
    """To remember arguments does not make a class swallow them."""
    with pytest.raises(TypeError):
        cls(3)


def test_an_instance_that_was_changed_is_refused(tmp_path):
    """What is measured is made anew in a worker, where the change would be lost."""
    made = load_estimator("rloo", samples=4)
    made.samples = 8
    with pytest.raises(UserError, match=r"samples of an instance of RLOO is not what .* samples=8"):
        spec_of(made, folder=tmp_path)
    assert made_with(made).named == {"samples": 4}


class Function(ScoreFunction):
    """Takes a function."""

    unbiased = True

    def __init__(self, function=None) -> None:
        super().__init__()
        self.function = function

    def baseline(self, name, node, cost):
        return self.function(cost)


def test_an_option_without_a_text_is_refused(tmp_path):
    """A function as option cannot be named, and the message says what can."""
    with pytest.raises(UserError, match="option 'function' of an instance of Function cannot be written: it must be"):
        spec_of(Function(abs), folder=tmp_path)
    with pytest.raises(UserError, match=r"which should make one estimator, raises ZeroDivisionError"):
        spec_of(lambda: 1 / 0, folder=tmp_path)


def imported(source, name="taken"):
    """The module that a source is."""
    module = type(sys)(name)
    exec(compile(source, name, "exec"), vars(module))
    return module


def test_the_source_of_a_class_runs_by_itself():
    """With lambdas, cached functions, other names and dataclasses that it uses, it computes the same."""
    cost = torch.tensor([1.0, 3.0])
    module = imported(SourceText.of(Kept))
    assert module.Kept(0.25).baseline("z", None, cost).tolist() == Kept(0.25).baseline("z", None, cost).tolist()
    assert imported(SourceText.of(Frozen)).Frozen(units=4).units == 4


def made(code):
    """A class from a text that is in no file."""
    names = {"__name__": __name__, "ScoreFunction": ScoreFunction}
    exec(code, names)
    return names


def test_a_class_without_a_file_is_refused():
    """One made by ``exec`` or ``type``, also where this file has another class of its name."""
    found = made(
        "class Other(ScoreFunction):\n    def baseline(self, name, node, cost): return cost\n"
        "class Kept(ScoreFunction):\n    def baseline(self, name, node, cost): return cost\n"
        "class Bare(ScoreFunction):\n    unbiased = True\n"
        "class Marked(ScoreFunction):\n    unbiased = True\n"
    )
    for cls in (*(found[name] for name in ("Other", "Kept", "Bare", "Marked")), type("Typed", (ScoreFunction,), {})):
        with pytest.raises(UserError, match=rf"source of {cls.__name__} cannot be had, as "):
            SourceText.of(cls)


class Marked(ScoreFunction):
    """Has no functions, so that its name alone tells its source; another of this name is above."""

    unbiased = False


class Patched(ScoreFunction):
    """Is changed below."""

    unbiased = True

    def baseline(self, name, node, cost):
        return 0 * cost


def test_a_class_that_was_changed_after_its_definition_is_refused(monkeypatch):
    """A method or an attribute that was put in its place later is in no source, and would be lost without a word."""
    SourceText.of(Patched)
    monkeypatch.setattr(Patched, "unbiased", False)
    with pytest.raises(UserError, match="its unbiased is not the one in the text"):
        SourceText.of(Patched)
    monkeypatch.undo()
    monkeypatch.setattr(Patched, "baseline", lambda self, name, node, cost: cost)
    with pytest.raises(UserError, match="source of Patched cannot be had"):
        SourceText.of(Patched)
    monkeypatch.undo()
    monkeypatch.setattr(Patched, "advantage", lambda self, name, node, cost: cost, raising=False)
    with pytest.raises(UserError, match="its advantage is not the one in the text"):
        SourceText.of(Patched)


@pytest.mark.long
@pytest.mark.parametrize(
    ("executor", "package"), [("ray[workers=1]", "ray"), ("slurm[cluster=local,cells=9,logs={logs}]", "submitit")]
)
def test_own_classes_reach_the_workers_of_clusters(executor, package, tmp_path):
    """On Ray, and by submitit, an instance of this file is measured as in this process."""
    pytest.importorskip(package, reason=f"{package} is not installed")
    what = "toy[units=2]", [Kept(0.25), "rloo"], "training[steps=4,evaluations=1,samples=0]", 1
    there, here = (
        compare(*what, store=tmp_path / name, executor=how)
        for name, how in (("there", executor.format(logs=tmp_path)), ("here", "inline"))
    )
    assert set(there.results["status"]) == {"ok"}
    values = [each.table()["loss_test"].to_dict() for each in (there, here)]
    assert values[0] == pytest.approx(values[1])


def test_a_run_of_failures_is_shown(tmp_path):
    """A notebook shows what failed and why, escaped, and no cell of such a run raises."""
    run = compare("toy[units=2]", Fails, "training[steps=2]", 1, store=tmp_path, executor="inline")
    page = run._repr_html_()
    assert "fails: training failed: RuntimeError: no &lt;b&gt; today" in page
    assert repr(run) == "Run(1 estimator on toy[units=2]; 1 rows)"
    assert run.table().loc["fails", "status"] == "failed"
    assert run.answers() == ["Incomplete: training failed for fails. No estimator is called best by training."]
    assert run.frame()["final"].tolist() == [True]
    with pytest.raises(UserError, match="so that there is nothing to test"):
        run.tests()
    with pytest.raises(UserError, match="hold nothing that a figure of kind 'training' shows"):
        run.figure("training")


class Fails(ScoreFunction):
    """Raises."""

    unbiased = True

    def baseline(self, name, node, cost):
        raise RuntimeError("no <b> today")
