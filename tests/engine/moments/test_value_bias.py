"""The metric ``value_bias``: the mean of an estimator's value against the exact objective."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import binom
from scipy.stats import t as student

from estbench import Pathwise, load_estimator
from estbench.engine.moments.gradient_metrics import value_bias
from estbench.engine.moments.moments import BATCHES, Moments
from estbench.measures.gradient import Gradient
from estbench.store.checkpoints import Checkpoints
from estbench.store.store import Entry, Store
from tests.engine.moments.test_gradient_measure import bench, figures, measured

# in widths of the 95 % interval, Student's of 32 batches, how far a value is off in one of 50,000 runs
REACH = student.isf(1e-5, BATCHES - 1) / student.isf(0.025, BATCHES - 1) / 2


def moments(values):
    """Moments of replicates ``(per batch, batches)``."""
    means = torch.from_numpy(values.mean(0))[:, None]
    return Moments(values.size, means, torch.from_numpy(values.var(0, ddof=1)), 2.0**-23)


@pytest.mark.parametrize("reference", ["exact", "estimated"])
@pytest.mark.parametrize("skewed", [False, True])
def test_the_interval_holds_the_bias_in_95_of_100_runs(reference, skewed):
    """Of 2,000 simulated runs with 1,024 replicates; a right interval fails with probability 1e-4."""
    rng, bias, held = np.random.default_rng(5), 0.02, 0
    for _ in range(2000):
        noise = rng.standard_exponential((2, 32, BATCHES)) - 1 if skewed else rng.standard_normal((2, 32, BATCHES))
        truth = Moments.exact(torch.ones(1)) if reference == "exact" else moments(1 + noise[1])
        found = value_bias(moments(1 + bias + noise[0]), truth)
        held += found.low <= bias <= found.high
    low, high = binom.ppf([5e-5, 1 - 5e-5], 2000, 0.95)
    # Student's interval of a skewed mean holds it a little less often: 94.6 % at this number of replicates
    assert low - 10 * skewed <= held <= high


def test_rounding_is_no_bias():
    """A value that is off by some last digits has neither bias nor interval; one that is off by more has."""
    truth = Moments.exact(torch.full((1,), 3.0))
    assert value_bias(Moments.exact(torch.full((1,), 3 * (1 + 1e-6))), truth) == (0, 0, 0)
    assert value_bias(Moments.exact(torch.full((1,), 3.01)), truth).low == pytest.approx(0.01, rel=0.01)


def relaxed_excess(temperature):
    """The toy's cost at a relaxed fair bit, by quadrature over the uniform variable, less the cost at exact samples."""

    def cost(u):
        return (1 / (1 + ((1 - u) / u) ** (1 / temperature)) - 0.45) ** 2

    return quad(cost, 0, 1)[0] - (0.45**2 + 0.55**2) / 2


def test_relaxed_samples_bias_the_value_as_quadrature_says():
    """On the toy, Gumbel-Softmax reports a cost that is too low, exact samples the right one (false alarms at 1e-4)."""
    where, measure = bench("toy[units=1]"), Gradient(replicates=2048, after=0)
    wrong = figures(measure, where, "gumbel_softmax[temperature=0.5]")["value_bias"]
    assert abs(wrong.value - relaxed_excess(0.5)) < REACH * (wrong.high - wrong.low)
    assert wrong.high < -0.05
    for name in ("rloo", "straight_through", "vimco", "disarm"):
        right = figures(measure, where, name)["value_bias"]
        assert abs(right.value) <= REACH * (right.high - right.low)
    exact = figures(measure, where, "exact")["value_bias"]
    assert (exact.value, exact.low, exact.high) == (0, 0, 0)


class OldPlugin(Pathwise):
    """Stands for a plugin of an earlier version, which makes no declaration of its samples."""

    unbiased = False
    hard = False
    paper = ""

    def sample(self, name, node):
        return node.relax(node.noise(), 1.0)


def test_plugins_without_the_declaration_are_measured():
    """The declaration of relaxed values follows from ``hard``; other estimators declare exact samples by default."""
    assert not OldPlugin.exact_samples
    rows = [row for _, row in Gradient(after=0).rows(bench("toy[units=2]"), {"old": OldPlugin})]
    (found,) = [row for row in rows if row.metric == "value_bias"]
    assert found.high < 0
    assert load_estimator("rloo").exact_samples
    assert not load_estimator("gumbel_softmax").exact_samples
    assert load_estimator("decoupled_straight_through[forward_temperature=1]").exact_samples


@pytest.mark.parametrize("groups", ["logits", "encoder", "parameters", "logits encoder decoder"])
def test_there_is_one_value_whatever_the_groups(groups):
    """The value does not depend on the variables: every choice of groups reports it once at each point."""
    where = bench("sigmoid_belief_net[units=3,batch_size=4]" if groups != "logits" else "toy[units=2]")
    names = [row.metric for _, row in measured(Gradient(64, 64, after=0, groups=groups), where, "rloo")]
    assert names.count("value_bias") == 1


def test_later_replicates_add_to_earlier_ones(tmp_path):
    """A run that continues from the kept moments reports the value of a run in one go."""

    def run(folder, replicates):
        where = bench("toy[units=3]")
        where = dataclasses.replace(where, journal=Checkpoints(Store(folder), Entry("k", {"limit": 0}), 0))
        return figures(Gradient(replicates, after=0, chunk=512), where, "gumbel_softmax")["value_bias"]

    run(tmp_path / "in two parts", 512)
    parts, whole = run(tmp_path / "in two parts", 2048), run(tmp_path / "in one go", 2048)
    assert (parts.value, parts.n) == (pytest.approx(whole.value, abs=1e-9), whole.n)


def test_too_few_replicates_leave_the_value_unresolved():
    """Where no replicate departs from the likeliest value, nothing is said of the mean."""
    where = bench("toy[units=1]")
    model = where.model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(8.0)
    found = figures(Gradient(64, after=0), dataclasses.replace(where, task=Fixed(where.task, model)), "rloo")
    assert found["value_bias"].status == "unresolved"
    assert "too few replicates" in found["value_bias"].error


class Fixed:
    """Stands for a task whose model starts at given parameters."""

    def __init__(self, task, model):
        self._task, self._model = task, model

    def __getattr__(self, name):
        return getattr(self._task, name)

    def model(self):
        return self._model


def test_an_unknown_bound_is_not_applicable():
    """If a multi-sample bound is too large to enumerate, the row says so."""
    where = dataclasses.replace(bench("toy[units=8]"), oracle=lambda m: load_estimator("exact", samples=m, limit=4))
    assert figures(Gradient(64, 64, after=0), where, "vimco")["value_bias"].status == "not applicable"
