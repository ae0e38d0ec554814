"""ReDGE and ReinMax-Rao, against their authors' package, quadrature, and samplers of other kinds."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import softmax
from scipy.stats import norm

from estbench import Bernoulli, Categorical, load_estimator

COSTS = torch.tensor([1.0, 2.0, -1.0])
LOGITS = torch.tensor([0.5, -0.3, 0.2])


def drawn(sampler, logits, replicates):
    """One-hot samples ``(replicates, classes)``, and gradients of a quadratic cost for the logits."""
    leaf = logits.expand(replicates, 1, len(logits)).clone().requires_grad_()
    value = sampler(leaf)
    cost = ((value * COSTS).sum((-1, -2)) - 0.3).square()
    (gradient,) = torch.autograd.grad(cost.sum(), leaf)
    return value.detach()[:, 0].double(), gradient[:, 0].double()


def z_of_means(one, other):
    return (one.mean(0) - other.mean(0)) / ((one.var(0) + other.var(0)) / len(one)).sqrt()


def node_sampler(spec):
    estimator = load_estimator(spec)
    return lambda logits: estimator.sample("z", Categorical(logits))


@pytest.mark.parametrize(("steps", "t_1"), [(3, 0.3), (5, 0.5)])
def test_redge_is_that_of_its_authors(steps, t_1):
    """Samples and gradients have the means and variances of the package's; a right one fails with probability 1e-4."""
    package = pytest.importorskip("redge", reason="the authors' package is not installed")
    torch.manual_seed(2)
    theirs = drawn(lambda logits: package.redge(logits, n_steps=steps, t_1=t_1), LOGITS, 2**14)
    ours = drawn(node_sampler(f"redge[steps={steps},t_1={t_1}]"), LOGITS, 2**14)
    reach = norm.isf(1e-4 / 2 / 12)
    for one, other in zip(theirs, ours, strict=True):
        assert z_of_means(one, other).abs().max() < reach
        assert z_of_means((one - one.mean(0)).square(), (other - other.mean(0)).square()).abs().max() < reach


def probability(logit, steps, t_1):
    """The probability of the first of two classes, by quadrature over the difference of the two normal variables."""
    alphas = [1.0, *np.linspace(1 - t_1, 1e-4, steps - 1)]

    def mean(x):
        for t in range(steps - 1, 0, -1):
            a, s, b = alphas[t], 1 - alphas[t], alphas[t - 1]
            share = 1 / (1 + math.exp(-logit - a * x / s**2))
            x = b * (2 * share - 1) + (1 - b) / s * (x - a * (2 * share - 1))
        return share

    return quad(lambda x: mean(x) * norm.pdf(x, scale=2**0.5), -12, 12, limit=200)[0]


@pytest.mark.parametrize(("steps", "t_1"), [(3, 0.3), (5, 0.5), (2, 0.5)])
def test_samples_of_redge_do_not_follow_the_logits(steps, t_1):
    """A bit of probability .844 comes as often as quadrature says, and not as its logit does (false alarm at 1e-5)."""
    torch.manual_seed(3)
    logits = torch.full((2**16, 1), math.log(0.844 / 0.156))
    frequency = float(load_estimator(f"redge[steps={steps},t_1={t_1}]").sample("z", Bernoulli(logits)).mean())
    expected = probability(float(logits[0]), steps, t_1)
    assert abs(frequency - expected) < 4.5 * (expected * (1 - expected) / 2**16) ** 0.5
    assert abs(expected - 0.844) > 0.004


@pytest.mark.parametrize(("steps", "t_1"), [(3, 0.3), (5, 0.5), (2, 0.5)])
def test_gradients_of_redge_are_those_of_its_probability(steps, t_1):
    """For a linear cost their mean is the derivative of the quadrature's probability (false alarm at 1e-5)."""
    torch.manual_seed(6)
    at = 0.7
    leaf = torch.full((2**16, 1), at, requires_grad=True)
    load_estimator(f"redge[steps={steps},t_1={t_1}]").sample("z", Bernoulli(leaf)).sum().backward()
    found = leaf.grad.double()
    expected = (probability(at + 1e-3, steps, t_1) - probability(at - 1e-3, steps, t_1)) / 2e-3
    assert abs(float(found.mean()) - expected) < 4.5 * float(found.std()) / 2**8


def test_redge_at_full_noise_is_straight_through():
    """At t_1 = 1 the last mean is the softmax of the logits: exact samples, and the derivative of the mean."""
    estimator = load_estimator("redge[t_1=1]")
    assert estimator.exact_samples
    leaf = LOGITS.clone()[None].requires_grad_()
    (estimator.sample("z", Categorical(leaf)) @ COSTS).sum().backward()
    p = LOGITS.softmax(0)
    torch.testing.assert_close(leaf.grad[0], p * (COSTS - p @ COSTS))


@pytest.mark.parametrize("options", ["steps=1", "t_1=0", "t_1=1.5"])
def test_redge_refuses_what_is_no_schedule(options):
    """Fewer than two steps, and a last noise outside (0, 1], are refused in one line."""
    with pytest.raises(Exception, match="ReDGE"):
        load_estimator(f"redge[{options}]")


def rejected(temperature, replicates=200_000):
    """ReinMax-Rao's mean for a linear cost, with noise given the sample by rejection, and its standard error."""
    rng = np.random.default_rng(4)
    logits, costs = LOGITS.double().numpy(), COSTS.double().numpy()
    p, total, error = softmax(logits), 0.0, 0.0
    for b in range(3):
        shifted = np.log((p + np.eye(3)[b]) / 2) + rng.gumbel(size=(replicates, 3))
        relaxed = softmax(shifted[shifted.argmax(1) == b] / temperature, axis=1)
        each = relaxed * (costs - relaxed @ costs[:, None]) / temperature
        total = total + p[b] * 2 * each.mean(0)
        error = error + (p[b] * 2) ** 2 * each.var(0) / len(each)
    return total - p * (costs - p @ costs) / 2, error**0.5


@pytest.mark.parametrize(("temperature", "known"), [(1.0, (0.105, 0.240, -0.345)), (0.5, (0.144, 0.236, -0.380))])
def test_reinmax_rao_has_the_expectation_of_its_formula(temperature, known):
    """With noise drawn by rejection the mean is the same, and that of the authors' code (a false alarm in 10,000)."""
    torch.manual_seed(5)
    leaf = LOGITS.expand(4096, 1, 3).clone().requires_grad_()
    sample = load_estimator(f"reinmax_rao[temperature={temperature},noises=40]").sample("z", Categorical(leaf))
    (sample @ COSTS).sum().backward()
    found, (expected, error) = leaf.grad[:, 0].double(), rejected(temperature)
    z = (found.mean(0).numpy() - expected) / np.hypot(found.std(0).numpy() / 64, error)
    assert np.abs(z).max() < norm.isf(1e-4 / 6)
    np.testing.assert_allclose(expected, known, atol=1e-3 + 4 * error.max())
    # linear costs have a bias too
    assert np.abs(expected - (0.215, 0.302, -0.517)).max() > 0.1


def test_reinmax_rao_of_one_class_that_is_certain():
    """At logits of 60 the midpoint has a class of probability 0 in float32: the gradient is 0 and finite."""
    leaf = torch.tensor([[60.0, -60.0, -torch.inf]], requires_grad=True)
    (load_estimator("reinmax_rao").sample("z", Categorical(leaf)) @ COSTS).sum().backward()
    assert leaf.grad.isfinite().all()
    assert leaf.grad.abs().max() < 1e-6
