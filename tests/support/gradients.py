"""Small programs, their exact gradients, and tests of replicated gradients against them.

Statistical tests use 5 standard errors, or a level of 1e-6.
"""

import math
from dataclasses import dataclass

import torch
from scipy.stats import chi2, norm
from torch.func import grad, vmap

from estbench import load_estimator
from estbench.core.node import Bernoulli, Categorical


@dataclass(frozen=True, eq=False)
class FixedBits(Bernoulli):
    value: torch.Tensor | None = None

    def sample(self):
        return self.value

    def noise(self):
        return self.value

    def discretise(self, noise):
        return noise


@dataclass(frozen=True, eq=False)
class FixedClasses(Categorical):
    value: torch.Tensor | None = None

    def sample(self):
        return self.value

    def noise(self):
        return self.value

    def discretise(self, noise):
        return noise


LOGITS = {
    "bits": torch.tensor([0.7, -1.1, 0.2], dtype=torch.float64),
    "classes": torch.tensor([[0.7, -1.1, 0.2, 0.5], [0.4, 0.1, -0.6, 0.0]], dtype=torch.float64),
}
NODES = {"bits": Bernoulli, "classes": Categorical}
MATRIX = torch.randn(8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def quadratic(value):
    """Quadratic in each variable, with interactions; any shape of event."""
    flat = value.flatten(-2) if value.shape[-2:] == LOGITS["classes"].shape else value
    size = flat.shape[-1]
    return torch.einsum("...i,ij,...j->...", flat, MATRIX[:size, :size], flat) + flat.sum(-1)


def cubic(value):
    return quadratic(value) ** 2 / 3


def program(node, cost):
    return lambda sample: cost(sample("z", node)[0])


def gradient(estimator, node, cost=quadratic):
    """One gradient for the logits of a node."""
    return grad(lambda logits: estimator(program(node.at(logits), cost)))(node.logits)


def exact(kind, cost=quadratic):
    return gradient(load_estimator("exact"), NODES[kind](LOGITS[kind]), cost)


def expected(estimator, kind, cost=quadratic):
    """The expectation of a gradient whose only randomness is the node's sample, by enumeration."""
    node = NODES[kind](LOGITS[kind])
    fixed = {"bits": FixedBits, "classes": FixedClasses}[kind]
    values = node.enumerate_support()
    each = [gradient(estimator, fixed(node.logits, value=v), cost) for v in values]
    return torch.einsum("v,v...->...", node.log_prob(values).exp(), torch.stack(each))


def replicates(estimator, node, cost=quadratic, number=20_000):
    """Gradients for the logits of a node, ``(number, entries)``."""
    estimator.eval()
    found = vmap(lambda _: gradient(estimator, node, cost), randomness="different")(torch.zeros(number))
    return found.flatten(1)


def assert_unbiased(gradients, truth, level=1e-6):
    """Bonferroni over coordinates, and Hotelling's T2, each at half the level."""
    error = gradients.mean(0) - truth.flatten()
    covariance = torch.cov(gradients.T).reshape(len(error), len(error))
    z = error.abs() / (covariance.diagonal() / len(gradients)).sqrt()
    assert 2 * norm.sf(z.max()) * len(z) > level / 2
    t2 = len(gradients) * error @ torch.linalg.pinv(covariance, hermitian=True, rtol=1e-9) @ error
    assert chi2.sf(t2, torch.linalg.matrix_rank(covariance, hermitian=True, rtol=1e-9)) > level / 2


def assert_variance(gradients, truth):
    """The mean variance of the entries, within 5 standard errors."""
    squares = (gradients - gradients.mean(0)).square().mean(1)
    assert (squares.mean() - truth).abs() < 5 * squares.std() / math.sqrt(len(squares)) + 1e-30


def scalar(t):
    """The cost of the toy, for bits of any number."""
    return lambda b: (b - t).square().sum(-1)
