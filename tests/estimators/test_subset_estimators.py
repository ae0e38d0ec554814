"""Estimators of subsets on one small problem whose gradients are known by enumeration.

Two of five items, cost (c.z - 1.3)^2. The numbers come from an enumeration of the ten subsets apart from this library.
"""

import math

import numpy as np
import pytest
import torch
from torch.func import grad, vmap

from estbench import Categorical, Subset, load_estimator
from tests.support.gradients import assert_unbiased

LOGITS = torch.tensor([0.5, -0.3, 0.2, -1.0, 0.8], dtype=torch.float64)
WEIGHTS = torch.tensor([1.0, 2.0, -1.0, 0.5, 3.0], dtype=torch.float64)
TRUE = torch.tensor([0.0284, 0.6025, -1.4459, -0.2572, 1.0721], dtype=torch.float64)
SIMPLE = torch.tensor([-0.0423, 0.5410, -1.7480, -0.2418, 1.4911], dtype=torch.float64)


def square(value):
    return (value @ WEIGHTS - 1.3).square()


def gradient(estimator, cost=square, k=2):
    return grad(lambda logits: estimator(lambda sample: cost(sample("z", Subset(logits, k))[0])))(LOGITS)


def replicates(name, number=8192, cost=square, k=2):
    torch.manual_seed(0)
    estimator = load_estimator(name).eval()
    return vmap(lambda _: gradient(estimator, cost, k), randomness="different")(torch.zeros(number))


def test_exact_gives_the_true_gradient():
    """The enumeration's gradient is the one computed elsewhere, to its four decimals."""
    torch.testing.assert_close(gradient(load_estimator("exact")), TRUE, rtol=0, atol=6e-5)


@pytest.mark.parametrize("name", ["sfess", "sfess[samples=1]", "rloo", "reinforce", "vargrad", "muprop", "remax"])
def test_score_functions_are_unbiased(name):
    """The mean of 8,192 gradients is the true one; each test has a false alarm in a million runs."""
    assert_unbiased(replicates(name), gradient(load_estimator("exact")))


def test_simple_has_its_own_expectation():
    """SIMPLE's mean is that of its formula, which is not the true gradient; a false alarm in a million runs."""
    node = Subset(LOGITS, 2)
    values = node.enumerate_support()
    slopes = 2 * (values @ WEIGHTS - 1.3)[:, None] * WEIGHTS
    wanted = (node.log_prob(values).exp()[:, None] * node.mean_slope(slopes)).sum(0)
    torch.testing.assert_close(wanted, SIMPLE, rtol=0, atol=6e-5)
    found = replicates("simple")
    assert_unbiased(found, wanted)
    with pytest.raises(AssertionError):
        assert_unbiased(found, gradient(load_estimator("exact")))


def test_simple_is_exact_for_linear_costs():
    """A cost that is linear in the items gives the true gradient in every sample."""
    found = gradient(load_estimator("simple"), lambda value: value @ WEIGHTS)
    torch.testing.assert_close(found, gradient(load_estimator("exact"), lambda value: value @ WEIGHTS))


@pytest.mark.parametrize(
    ("name", "other"), [("sfess[samples=3]", "rloo[samples=3]"), ("sfess[samples=1]", "reinforce")]
)
def test_sfess_is_the_score_function_of_subsets(name, other):
    """From the same seed SFESS gives the values of RLOO, or of REINFORCE for one sample."""
    torch.testing.assert_close(replicates(name, 4), replicates(other, 4))


def test_the_mean_of_all_samples_as_baseline_shortens_the_gradient():
    """With the own sample in the baseline, K samples give (K - 1) / K of the gradient, sample by sample."""
    torch.testing.assert_close(
        replicates("sfess[samples=4,baseline=mean]", 4), 0.75 * replicates("sfess[samples=4]", 4)
    )


@pytest.mark.parametrize("name", ["imle", "double_cv", "gumbel_softmax", "disarm", "straight_through"])
def test_estimators_of_bits_and_classes_refuse_subsets(name):
    """What is not checked on subsets does not accept them."""
    with pytest.raises(ValueError, match="Subset"):
        load_estimator(name).prepare(lambda sample: square(sample("z", Subset(LOGITS, 2))[0]))


@pytest.mark.parametrize(
    ("name", "other"),
    [("simple", "straight_through"), ("gumbel_top_k[temperature=0.7]", "st_gumbel_softmax[temperature=0.7]")],
)
def test_for_one_item_the_expectation_is_that_of_one_class(name, other):
    """With k = 1, means and variances of 8,192 gradients are those of one class; a false alarm in a million runs."""
    mine = replicates(name, k=1)
    torch.manual_seed(1)
    estimator = load_estimator(other).eval()
    theirs = vmap(lambda _: of_classes(estimator), randomness="different")(torch.zeros(8192))
    for one, two in ((mine, theirs), ((mine - mine.mean(0)).square(), (theirs - theirs.mean(0)).square())):
        spread = ((one.var(0) + two.var(0)) / len(one)).sqrt()
        assert ((one.mean(0) - two.mean(0)).abs() < 5.5 * spread).all()


def test_simple_for_one_item_is_straight_through_sample_by_sample(monkeypatch):
    """By enumeration: for each item as the sample, SIMPLE's gradient at k = 1 is that of straight-through, to rounding.

    Both are the Jacobian of the softmax, written here, times the derivative of the cost at the item.
    """
    p = LOGITS.softmax(0)
    torch.testing.assert_close(Subset(LOGITS, 1).mean, p)
    for value in torch.eye(5, dtype=torch.float64):
        torch.testing.assert_close(Subset(LOGITS, 1).log_prob(value), p.log() @ value)
        monkeypatch.setattr(Subset, "sample", lambda _, value=value: value)
        monkeypatch.setattr(Categorical, "sample", lambda _, value=value: value[None])
        slope = 2 * (value @ WEIGHTS - 1.3) * WEIGHTS
        wanted = p * (slope - p @ slope)
        torch.testing.assert_close(gradient(load_estimator("simple"), k=1), wanted)
        torch.testing.assert_close(of_classes(load_estimator("straight_through")), wanted)


def of_classes(estimator):
    """The gradient for one class of five."""

    def scalar(logits):
        return estimator(lambda sample: square(sample("z", Categorical(logits[None]))[0][..., 0, :]))

    return grad(scalar)(LOGITS)


def test_imle_of_subsets_with_gumbel_noise_has_the_expectation_of_its_formula():
    """The mean of 8,192 gradients is that of the formula with noise drawn in numpy; a false alarm in a million runs."""
    rng = np.random.default_rng(0)
    logits, weights = LOGITS.numpy(), WEIGHTS.numpy()

    def top(values):
        found = np.zeros_like(values)
        np.put_along_axis(found, np.argsort(-values, -1)[:, :2], 1.0, -1)
        return found

    noise = rng.gumbel(size=(100_000, 5))
    value = top(logits + noise)
    slope = 2 * (value @ weights - 1.3)[:, None] * weights
    wanted = torch.from_numpy(value - top(logits - 1.5 * slope + noise)) / 1.5
    found = replicates("imle_subset[noise=gumbel,strength=1.5]")
    spread = (found.var(0) / len(found) + wanted.var(0) / len(wanted)).sqrt()
    assert ((found.mean(0) - wanted.mean(0)).abs() < 5.5 * spread).all()


def test_the_sum_of_as_many_gamma_noises_as_items_is_nearly_a_gumbel_variable():
    """Over 50,000 sums of k = 3 noises of 200 terms, mean, variance and skewness are those of a Gumbel variable."""
    torch.manual_seed(0)
    node = Subset(torch.zeros(50_000, 3), 3)
    drawn = load_estimator("imle_subset[terms=200]").noise(node).sum(-1)
    assert drawn.mean() == pytest.approx(0.5772, abs=0.03)
    assert drawn.var() == pytest.approx(math.pi**2 / 6, rel=0.05)
    assert ((drawn - drawn.mean()) ** 3).mean() / drawn.std() ** 3 == pytest.approx(1.14, abs=0.15)


@pytest.mark.parametrize("name", ["imle_subset", "gumbel_top_k", "simple", "sfess"])
def test_masked_items_in_the_batch_may_differ(name):
    """With an item kept out of one example and one kept in for another, gradients are finite, and 0 for these items."""
    logits = LOGITS.expand(3, 5).clone()
    logits[1, 2], logits[2, 1] = -math.inf, math.inf
    logits.requires_grad_()
    torch.manual_seed(0)
    value = load_estimator(name)(lambda sample: square(sample("z", Subset(logits, 2))[0]))
    (found,) = torch.autograd.grad(value, logits)
    assert found.isfinite().all()
    assert found[1, 2] == 0
    assert found[2, 1] == 0
    assert (found != 0).any()
