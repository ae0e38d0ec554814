"""Gradients of two estimators on one program, and how far their means and variances are apart."""

import torch

from estbench import Bernoulli, Categorical

BITS = torch.tensor([0.7, -1.1, 0.2])
CLASSES = torch.tensor([[0.7, -1.1, 0.2, 0.5], [0.4, 0.1, -0.6, 0.0]])
MATRIX = torch.randn(8, 8, generator=torch.Generator().manual_seed(1))
REPLICATES = 20_000


def cost(value):
    """Quadratic in the values of bits ``(..., 3)`` or classes ``(..., 2, 4)``."""
    flat = value.flatten(-2) if value.shape[-2:] == CLASSES.shape else value
    size = flat.shape[-1]
    return torch.einsum("...i,ij,...j->...", flat, MATRIX[:size, :size], flat) + flat.sum(-1)


def node(kind, replicates):
    """A node of bits or classes, the same for as many examples."""
    logits = BITS if kind == "bits" else CLASSES
    leaf = logits.expand(replicates, *logits.shape).clone().requires_grad_()
    return Bernoulli(leaf) if kind == "bits" else Categorical(leaf)


def gradients(estimator, kind, replicates=REPLICATES):
    """Independent gradients for the logits ``(replicates, entries)``: those of the examples of one batch."""
    own = node(kind, replicates)
    value = estimator.prepare(lambda sample: cost(sample("z", own)[0]))(lambda sample: cost(sample("z", own)[0]))
    value.backward()
    return (replicates * own.logits.grad).flatten(1).double()


def z_of_means(one, other):
    """Differences of the means in standard errors, for each entry."""
    return (one.mean(0) - other.mean(0)) / (one.var(0) / len(one) + other.var(0) / len(other)).sqrt()


def z_of_variances(one, other):
    """The same of the mean squared deviations."""
    return z_of_means((one - one.mean(0)).square(), (other - other.mean(0)).square())


def assert_same(one, other):
    """Means and variances are within 5 standard errors in each entry: 16 at most, so a false alarm in 50,000."""
    assert one.isfinite().all()
    assert z_of_means(one, other).abs().max() < 5
    assert z_of_variances(one, other).abs().max() < 5
