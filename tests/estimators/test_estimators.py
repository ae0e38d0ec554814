"""What holds of single estimators; what holds of all of them is tested in the conformance kit.

Published and closed-form values, expectations by enumeration, and one estimator as a case of another. With some 60
statistical tests at 5 standard errors or a level of 1e-6, one run in 20,000 of correct estimators fails.
"""

import itertools
import math
import sys

import pytest
import torch
from torch.func import grad

from estbench import load_estimator
from estbench.core.node import Bernoulli, Categorical
from tests.support.gradients import (
    LOGITS,
    FixedBits,
    FixedClasses,
    assert_variance,
    cubic,
    exact,
    expected,
    gradient,
    program,
    replicates,
    scalar,
)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


# ---- published and closed-form values


def reinforce_variance(d):
    # t = (1 - d) / 2, so a 1 costs ((1 + d) / 2) ** 2, and the score is 1/2 in size
    high, low = ((1 + d) / 2) ** 2 / 2, -(((1 - d) / 2) ** 2) / 2
    return (high - low) ** 2 / 4


@pytest.mark.parametrize("t", [0.45, 0.49, 0.499])
@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("reinforce", reinforce_variance),
        ("rloo", lambda d: d**2 / 16),
        ("vargrad", lambda d: d**2 / 16),
        ("double_cv", lambda d: d**2 / 16),
        ("arm", lambda d: d**2 / 48),
        ("disarm", lambda _: 0.0),
        ("arms[samples=2]", lambda _: 0.0),
        ("rao_blackwell", lambda _: 0.0),
        ("unordered_set", lambda _: 0.0),
    ],
)
def test_variance_on_the_scalar_toy(name, variance, t):
    """On E (b - t)^2 at p = 1/2 the variances are those derived by hand."""
    node = Bernoulli(torch.zeros(1, dtype=torch.float64))
    assert_variance(replicates(load_estimator(name), node, scalar(t)), variance(1 - 2 * t))


@pytest.mark.parametrize(("t", "log_variance"), [(0.45, -4.138982421653336), (0.499, -4.158875083375672)])
def test_reinforce_variance_is_the_published_one(t, log_variance):
    """Values of REBAR's and RELAX's toys, as logarithms."""
    assert math.log(reinforce_variance(1 - 2 * t)) == pytest.approx(log_variance)


@pytest.mark.parametrize(
    ("name", "variance"),
    [("rloo", 1.25e-9), ("double_cv", 1.25e-9), ("rodeo", 1.25e-9), ("disarm", 1.24375e-9)],
)
def test_variance_on_the_toy_of_double_control_variates(name, variance):
    """With 200 units the mean variance is the published one where training starts."""
    node = Bernoulli(torch.zeros(200, dtype=torch.float64))
    number = 1000 if name == "rodeo" else 10_000
    cost = lambda b: (b - 0.499).square().mean(-1)  # noqa: E731
    estimator = load_estimator(name).prepare(program(node, cost)).double()
    found = replicates(estimator, node, cost, number)
    assert_variance(found, variance)


def test_gradient_of_three_coins():
    """The toy of Kool et al.: three coins of one logit have the published gradient."""
    target = torch.tensor([0.6, 0.51, 0.48], dtype=torch.float64)
    node = Bernoulli(torch.zeros(3, dtype=torch.float64))
    for name in ("exact", "unordered_set[samples=8]"):
        found = gradient(load_estimator(name), node, lambda b: (b - target).square().sum(-1))
        assert found.sum().item() == pytest.approx(-0.045)


# ---- exact by enumeration


@pytest.mark.parametrize(
    ("name", "kind"),
    [("darn", "bits"), ("zgr", "bits"), ("zgr", "classes"), ("reinmax", "bits"), ("reinmax", "classes")],
)
def test_second_order_estimators_are_exact_for_quadratic_costs(name, kind):
    """DARN, ZGR and ReinMax are exact where the cost is quadratic in each variable, and not beyond."""
    estimator = load_estimator(name)
    torch.testing.assert_close(expected(estimator, kind), exact(kind))
    assert (expected(estimator, kind, cubic) - exact(kind, cubic)).norm() > 0.01 * exact(kind, cubic).norm()


def test_zgr_is_the_mean_of_straight_through_and_darn_about_the_mean():
    """The defining identity, sample by sample."""
    node = Categorical(LOGITS["classes"])
    for value in node.enumerate_support():
        fixed = FixedClasses(node.logits, value=value)
        slope = grad(cubic)(value)
        darn = (slope * node.score(value)).sum(-1, keepdim=True) * node.score(value)
        straight = gradient(load_estimator("straight_through"), fixed, cubic)
        torch.testing.assert_close(gradient(load_estimator("zgr"), fixed, cubic), (straight + darn) / 2)


def test_zgr_of_bits_is_darn():
    """For bits DARN, ZGR and ReinMax are one estimator."""
    for value in Bernoulli(LOGITS["bits"]).enumerate_support():
        fixed = FixedBits(LOGITS["bits"], value=value)
        one, *others = (gradient(load_estimator(n), fixed, cubic) for n in ("darn", "zgr", "reinmax"))
        for other in others:
            torch.testing.assert_close(one, other)


def test_reinmax_of_classes_is_zgr():
    """At temperature 1 ReinMax is ZGR for every sample, since diag(b) is b b^T for one-hot b."""
    for value in Categorical(LOGITS["classes"]).enumerate_support():
        fixed = FixedClasses(LOGITS["classes"], value=value)
        one, other = (gradient(load_estimator(name), fixed, cubic) for name in ("zgr", "reinmax"))
        torch.testing.assert_close(one, other)


def test_darn_of_two_classes_is_that_of_bits():
    """The gradient with respect to the second class's logit is that with respect to the bit's."""
    for value in Bernoulli(LOGITS["bits"]).enumerate_support():
        node = Bernoulli(LOGITS["bits"])
        hot = FixedClasses(node.classes().logits, value=node.to_hot(value))
        of_bits = gradient(load_estimator("darn"), FixedBits(LOGITS["bits"], value=value), cubic)
        of_classes = gradient(load_estimator("darn"), hot, lambda one: cubic(one[..., 1]))
        torch.testing.assert_close(of_classes[..., 1], of_bits)


def test_darn_of_classes_is_exact_for_linear_costs():
    """Whatever its centre: the covariance of the sample and the score is the derivative of the mean."""

    def linear(hot):
        return (hot * torch.arange(hot.shape[-1], dtype=hot.dtype)).sum((-2, -1))

    torch.testing.assert_close(expected(load_estimator("darn"), "classes", linear), exact("classes", linear))


@pytest.mark.parametrize("name", ["unordered_set[samples=8]", "sum_and_sample[samples=8]", "rao_blackwell[summed=7]"])
def test_taking_all_values_is_exact(name):
    """Estimators with distinct values have no variance once they take all of them."""
    torch.testing.assert_close(gradient(load_estimator(name), Bernoulli(LOGITS["bits"]), cubic), exact("bits", cubic))


@pytest.mark.parametrize("samples", [2, 3])
def test_unordered_set_over_all_sets(samples, monkeypatch):
    """The estimator is exact in expectation over all ordered draws, and the same for each order of a set."""
    estimator = load_estimator("unordered_set", samples=samples)
    node = Bernoulli(LOGITS["bits"])
    q = node.log_prob(node.enumerate_support()).exp()
    score, cost = node.score(node.enumerate_support()), cubic(node.enumerate_support())
    total = torch.zeros(3, dtype=torch.float64)

    def weights(value):
        module = sys.modules[type(estimator).__module__]
        monkeypatch.setattr(module, "without_replacement", lambda *_: node.to_hot(value))
        return estimator.choose(node)[1]

    for drawn in itertools.permutations(range(8), samples):
        index = list(drawn)
        chance = math.prod(q[s] / (1 - q[index[:k]].sum()) for k, s in enumerate(drawn))
        value = node.enumerate_support()[index]
        rest = weights(value)
        excess = cost[index] - estimator.baseline(node, value, cost[index])
        total += chance * ((rest * excess)[:, None] * score[index]).sum(0)
        torch.testing.assert_close(rest, weights(value.flip(0)).flip(0))
        torch.testing.assert_close(rest.sum(), torch.ones_like(rest.sum()))
    torch.testing.assert_close(total, exact("bits", cubic))


def test_local_expectation_sums_single_variables():
    """It is exact for one variable, and for costs that add up over variables."""
    estimator = load_estimator("local_expectation")
    single = Categorical(LOGITS["classes"][:1])
    cost = lambda hot: (hot[..., 0, :] * torch.arange(4.0, dtype=torch.float64) ** 2).sum(-1)  # noqa: E731
    torch.testing.assert_close(gradient(estimator, single, cost), gradient(load_estimator("exact"), single, cost))
    linear = lambda bits: (bits * torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)).sum(-1)  # noqa: E731
    node = Bernoulli(LOGITS["bits"])
    torch.testing.assert_close(gradient(estimator, node, linear), exact("bits", linear))


# ---- one estimator as a case of another


def test_vargrad_is_rloo():
    """The same seed gives the same gradient."""
    node, found = Bernoulli(LOGITS["bits"]), []
    for name in ("rloo", "vargrad"):
        torch.manual_seed(1)
        found.append(gradient(load_estimator(name, samples=3), node, cubic))
    torch.testing.assert_close(*found)


def test_double_cv_and_rodeo_start_as_leave_one_out():
    """Before any tuning both are RLOO."""
    node, costs = Bernoulli(LOGITS["bits"]), cubic
    rloo = load_estimator("rloo", samples=3)
    for name in ("double_cv", "rodeo"):
        estimator = load_estimator(name, samples=3).double().prepare(program(node, costs))
        noise = node.at(node.logits.expand(3, -1)).noise()
        cost = costs(node.discretise(noise))
        found = estimator.gradient("z", node, noise, cost, costs)
        excess = cost - rloo.baseline("z", node, cost)
        torch.testing.assert_close(found, excess[:, None] * node.score(node.discretise(noise)))


def test_two_coupled_bits_are_disarm():
    """ARMS of two samples has DisARM's gradient on the same noise."""
    node = Bernoulli(LOGITS["bits"])
    for _ in range(20):
        noise = load_estimator("disarm").couple(node)
        cost = cubic(node.discretise(noise))
        one, other = (load_estimator(n).gradient(node, noise, cost) for n in ("disarm", "arms[samples=2]"))
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("name", "of_bits"),
    [
        ("carms[samples=2]", "arms[samples=2]"),
        ("carms[samples=4]", "arms[samples=4]"),
        ("disarm_categorical", "disarm"),
        ("disarm_categorical[construction=sticks]", "disarm"),
    ],
)
def test_coupled_estimators_of_two_classes_are_those_of_bits(name, of_bits):
    """On the same values the gradient for the second of two classes is that of a bit."""
    bits, (classes, binary) = Bernoulli(LOGITS["bits"]), (load_estimator(name), load_estimator(of_bits))
    for _ in range(20):
        noise = binary.couple(bits)
        value = bits.discretise(noise)
        cost = cubic(value)
        hot = bits.classes().noise_given(bits.to_hot(value))
        found = classes.gradient(bits.classes(), hot, cost)
        torch.testing.assert_close(bits.from_hot(found), binary.gradient(bits, noise, cost))


def test_decoupled_straight_through_at_one_is_straight_through():
    """Both temperatures at 1 leave nothing to decouple."""
    node, found = Categorical(LOGITS["classes"]), []
    for name in ("straight_through", "decoupled_straight_through[forward_temperature=1.0,temperature=1.0]"):
        torch.manual_seed(1)
        found.append(gradient(load_estimator(name), node, cubic))
    torch.testing.assert_close(*found)


def test_straight_through_with_the_identity_passes_the_slope():
    """The gradient is the cost's derivative at the sample."""
    value = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    node = FixedBits(LOGITS["bits"], value=value)
    found = gradient(load_estimator("straight_through", derivative="identity"), node, cubic)
    torch.testing.assert_close(found, grad(cubic)(value))
