"""Estimators of subsets on one small problem whose gradients are known by enumeration.

Two of five items, cost (c.z - 1.3)^2. The numbers come from an enumeration of the ten subsets apart from this library.
"""

import pytest
import torch
from torch.func import grad, vmap

from estbench import Subset, load_estimator
from tests.support.gradients import assert_unbiased

LOGITS = torch.tensor([0.5, -0.3, 0.2, -1.0, 0.8], dtype=torch.float64)
WEIGHTS = torch.tensor([1.0, 2.0, -1.0, 0.5, 3.0], dtype=torch.float64)
TRUE = torch.tensor([0.0284, 0.6025, -1.4459, -0.2572, 1.0721], dtype=torch.float64)
SIMPLE = torch.tensor([-0.0423, 0.5410, -1.7480, -0.2418, 1.4911], dtype=torch.float64)


def square(value):
    return (value @ WEIGHTS - 1.3).square()


def gradient(estimator, cost=square, k=2):
    return grad(lambda logits: estimator(lambda sample: cost(sample("z", Subset(logits, k))[0])))(LOGITS)


def replicates(name, number=8192, cost=square):
    torch.manual_seed(0)
    estimator = load_estimator(name).eval()
    return vmap(lambda _: gradient(estimator, cost), randomness="different")(torch.zeros(number))


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
