"""The conformance kit: it catches what is wrong, and seldom what is right."""

import ast
from functools import partial

import pytest
import torch

from estbench import Bernoulli, Pathwise
from estbench.core.estimator import NotApplicableError
from estbench.core.program import draw
from estbench.errors import UserError
from estbench.families.score_function import ScoreFunction
from estbench.plugins.registry import discover, load_estimator
from estbench.testing import CHECKS, FALSE_ALARMS, run_checks
from estbench.testing.programs import RECIPES
from estbench.testing.statistical import ALPHA
from estbench.testing.subject import Subject
from tests.support import WRONG
from tests.testing.test_conformance import FEW

pytest_plugins = ["pytester"]

PATHS = sorted(WRONG.glob("*.py"))


@pytest.fixture(autouse=True)
def _one_thread():
    """The programs are so small that more threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def caught_by(path):
    """The name of the check that is meant for a wrong estimator."""
    statements = ast.parse(path.read_text()).body
    (found,) = [s.value.value for s in statements if isinstance(s, ast.Assign) and s.targets[0].id == "CAUGHT_BY"]
    return found


@pytest.mark.parametrize(
    "path",
    [pytest.param(p, id=p.stem, marks=pytest.mark.long if p.stem == "one_percent" else ()) for p in PATHS],
)
def test_catches(path):
    """Each deliberately wrong estimator fails the check that is meant for it."""
    if caught_by(path) == "devices" and not torch.cuda.is_available():
        pytest.skip("there is no CUDA device here")
    make = discover("estimator", [path])[path.stem].load()
    # as few replicates as make test draws of each estimator do for all but a bias of one percent
    subject = Subject(make) if path.stem == "one_percent" else Subject(make, **FEW)
    found = list(run_checks(subject, only=[caught_by(path)]))
    assert [verdict for verdict in found if verdict.verdict == "failed"], found


def test_every_check_can_fail():
    """For each check there is a wrong estimator that is meant for it."""
    assert {check.group for check in CHECKS} == {caught_by(path) for path in PATHS}


def test_levels_add_up():
    """The levels of all checks by statistics add up to one false alarm in a thousand runs."""
    statistical = [
        c for c in CHECKS if c.group in {"unbiased", "value", "broadcast", "target", "devices", "examples", "masks"}
    ]
    assert FALSE_ALARMS <= 1e-3
    assert len(statistical) * ALPHA == pytest.approx(FALSE_ALARMS)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 4))
def test_one_percent_is_caught_with_any_seed(seed):
    """REINFORCE one percent too large is caught, whatever the seed."""
    (path,) = [path for path in PATHS if path.stem == "one_percent"]
    make = discover("estimator", [path])["one_percent"].load()
    verdicts = list(run_checks(make, seed=seed, only=["unbiased"]))
    checked = [recipe for recipe in RECIPES if recipe.meant_for(make.accepts)]
    assert [verdict.verdict for verdict in verdicts].count("failed") == len(checked)


class _Through(torch.autograd.Function):
    """Of the old form, which ``torch.func`` cannot map."""

    @staticmethod
    def forward(_ctx, logits):
        return torch.bernoulli(logits.sigmoid())

    @staticmethod
    def backward(_ctx, gradient):
        return gradient


class NoVmap(Pathwise):
    """Straight-through as packages of others write it."""

    accepts, unbiased, hard = (Bernoulli,), False, True

    def sample(self, name, node):
        return _Through.apply(node.logits)


@pytest.mark.parametrize(
    "only", [["runs", "examples", "half_precision", "vmap"], pytest.param((), marks=pytest.mark.long)]
)
def test_what_vmap_cannot_map_has_one_verdict_about_it(only):
    """Of all checks the one of vmap fails; the others take a loop, and pass."""
    found = list(run_checks(Subject(NoVmap, **FEW), only=only))
    (failed,) = [verdict for verdict in found if verdict.verdict == "failed"]
    assert failed.name == "vmap"
    assert "setup_context" in str(failed)


class Breaks(torch.nn.Module):
    """Stands for a plugin whose constructor fails."""

    def __init__(self, error):
        raise error


@pytest.mark.parametrize("error", [ZeroDivisionError("a mistake"), SystemExit(3)], ids=["error", "exit"])
def test_a_plugin_that_breaks_gets_verdicts(error):
    """A plugin that raises, or even exits, in its constructor fails every check in one line."""
    verdicts = list(run_checks(partial(Breaks, error)))
    assert {verdict.verdict for verdict in verdicts if verdict.name != "devices"} == {"failed"}
    assert all("\n" not in str(verdict) for verdict in verdicts)


class OneLayer(ScoreFunction):
    """Stands for an estimator that by its nature takes one node only."""

    unbiased = True
    paper = ""

    def forward(self, program):
        _, sites = self.interpret(program, draw)
        if len(sites) > 1:
            raise NotApplicableError("OneLayer takes one node only")
        return super().forward(program)

    def baseline(self, name, node, cost):
        return 0 * cost


def test_a_refused_program_is_not_applicable():
    """Programs that an estimator refuses with a reason do not apply; the others are checked."""
    verdicts = {v.name: v for v in run_checks(Subject(OneLayer, **FEW), only=["unbiased", "vmap"])}
    assert verdicts["unbiased[bernoulli, 1 layer]"].verdict == "passed"
    assert verdicts["vmap"].verdict == "passed"
    refused = verdicts["unbiased[bernoulli, 2 layers]"]
    assert (refused.verdict, refused.reason) == ("not applicable", "OneLayer takes one node only")


def test_a_class_that_is_no_estimator_gets_verdicts():
    """What is no estimator at all fails the first check, which says so."""
    verdicts = list(run_checks(torch.nn.Identity))
    assert "must extend estbench.Estimator; got Identity" in verdicts[0].reason
    assert "passed" not in {verdict.verdict for verdict in verdicts}


def test_the_callers_randomness_is_untouched():
    """Checks leave torch's random state as they found it."""
    torch.manual_seed(3)
    expected = torch.rand(())
    torch.manual_seed(3)
    list(run_checks(Subject(partial(load_estimator, "rloo"), **FEW), only=["runs", "seed", "broadcast"]))
    assert torch.rand(()) == expected


class TwoDevices(Subject):
    """Stands for a machine with a CUDA device, on which the gradient is off by a factor."""

    factor = 1.0

    def bench(self, recipe, dtype=torch.float64, batch=(2,), device="cpu"):
        bench = super().bench(recipe, dtype, batch)
        if device == "cuda":
            bench.register_forward_hook(lambda _module, _inputs, value: scaled(value, self.factor))
        return bench


def scaled(value, factor):
    """The value, with its derivative times a factor."""
    return value.detach() + factor * (value - value.detach())


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "passed"), (1.2, "failed")])
def test_devices_are_compared(factor, verdict, monkeypatch):
    """A gradient whose mean on another device is off by a fifth fails the comparison of devices."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    subject = TwoDevices(partial(load_estimator, "disarm"))
    subject.factor = factor
    (check,) = [check for check in CHECKS if check.name == "devices"]
    assert check.verdict(subject).verdict == verdict


def test_unknown_names_are_refused():
    """An unknown estimator or check is refused with the nearest name, before anything runs."""
    with pytest.raises(UserError, match="did you mean 'rloo'"):
        run_checks("rlooo")
    with pytest.raises(UserError, match="did you mean 'unbiased'"):
        run_checks("rloo", only=["unbaised"])


def test_parametrize_with_checks(pytester):
    """As a pytest decorator the kit passes, fails and skips tests named after estimator and check."""
    wrong = WRONG / "wrong_evaluations.py"
    pytester.makepyfile(
        f"""
        from estbench.plugins.registry import discover
        from estbench.testing import parametrize_with_checks

        wrong = discover("estimator", [{str(wrong)!r}])["wrong_evaluations"].load()

        @parametrize_with_checks(["exact", wrong])
        def test_conformance(estimator, check):
            if check.name in ("refuses", "evaluations"):
                check(estimator)
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-v")
    result.assert_outcomes(passed=2 * len(CHECKS) - 2, failed=1, skipped=1)
    result.stdout.fnmatch_lines(["*WrongEvaluations-evaluations* FAILED*"])
