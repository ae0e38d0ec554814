"""Other people's implementations as oracles: the same moments of value and gradient.

Values and gradients of many independent rows are compared by Hotelling's T2 and max|z|, in their means and in
their second moments. A test of a correct estimator fails at most once in 10,000 runs.
"""

import pytest
import torch
from torch import distributions
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)

from estbench.core.node import Bernoulli, Categorical
from estbench.plugins.registry import load_estimator
from estbench.testing.inference import RunningCovariance, zero_mean_test

ROWS = 200_000
ALPHA = 1e-4
BITS = torch.tensor([0.8, -0.3, 0.1])
CLASSES = torch.tensor([[0.5, -0.2, 0.1], [-1.0, 0.3, 0.4]])


def cost(value):
    """A nonlinear cost of values ``(rows, units)`` or ``(rows, units, classes)``."""
    flat = value.flatten(1)
    weights = torch.linspace(-1.0, 1.5, flat.shape[-1])
    return (flat @ weights - 0.3).square() + (flat[:, 0] * flat[:, -1]).sin()


def theirs(logits, sample):
    """Rows of value and gradient from a differentiable sampler of somebody else."""
    rows = logits.expand(ROWS, *logits.shape).clone().requires_grad_()
    values = cost(sample(rows))
    (gradients,) = torch.autograd.grad(values.sum(), rows)
    return torch.cat([values.detach()[:, None], gradients.flatten(1)], 1)


def ours(name, logits):
    """Rows of gradient from an estimator, which averages over the batch, and the mean value."""
    rows = logits.expand(ROWS, *logits.shape).clone().requires_grad_()
    node = Bernoulli if logits.ndim == 1 else Categorical
    seen = []

    def program(sample):
        value, _ = sample("z", node(rows))
        seen.append(cost(value.reshape(ROWS, *logits.shape)))
        return seen[-1].reshape(value.shape[: value.ndim - logits.ndim])

    estimator = load_estimator(name)
    (gradients,) = torch.autograd.grad(estimator(program), rows)
    return torch.cat([seen[0].detach()[:, None], ROWS * gradients.flatten(1)], 1)


def same_moments(one, other):
    """The p-value of equal first and second moments."""
    scale = one.double().std(0).clamp_min(1e-6)
    moments = []
    for rows in (one, other):
        standard = rows.double() / scale
        moments.append(RunningCovariance(2 * rows.shape[1]))
        moments[-1].add(torch.cat([standard, standard.square()], 1))
    covariance = sum(m.covariance / m.n for m in moments)
    return zero_mean_test(moments[0].mean - moments[1].mean, covariance, ROWS).p


def straight_through(logits):
    """Torch's straight-through sampler of one-hot vectors."""
    return distributions.OneHotCategoricalStraightThrough(logits=logits).rsample()


@pytest.mark.parametrize(
    ("name", "logits", "sample"),
    [
        ("gumbel_softmax[temperature=0.7]", CLASSES, lambda t: F.gumbel_softmax(t, 0.7)),
        ("st_gumbel_softmax[temperature=0.7]", CLASSES, lambda t: F.gumbel_softmax(t, 0.7, hard=True)),
        (
            "gumbel_softmax[temperature=0.7]",
            CLASSES,
            lambda t: distributions.RelaxedOneHotCategorical(torch.tensor(0.7), logits=t).rsample(),
        ),
        (
            "gumbel_softmax[temperature=0.7]",
            BITS,
            lambda t: distributions.RelaxedBernoulli(torch.tensor(0.7), logits=t).rsample(),
        ),
        ("straight_through", CLASSES, straight_through),
    ],
    ids=["F.gumbel_softmax", "F.gumbel_softmax hard", "relaxed one-hot", "relaxed bernoulli", "straight-through"],
)
def test_torch_has_the_same_moments(name, logits, sample):
    """A pathwise estimator has the moments of torch's own sampler."""
    torch.manual_seed(0)
    assert same_moments(ours(name, logits), theirs(logits, sample)) > ALPHA


@pytest.mark.parametrize("temperature", [1.0, 1.3])
def test_the_package_reinmax_has_the_same_moments(temperature):
    """ReinMax has the moments of its authors' package, at two temperatures."""
    package = pytest.importorskip("reinmax", reason="the package reinmax is not installed")
    torch.manual_seed(0)
    mine = ours(f"reinmax[temperature={temperature}]", CLASSES)
    assert same_moments(mine, theirs(CLASSES, lambda t: package.reinmax(t, temperature)[0])) > ALPHA


@pytest.mark.parametrize("logits", [BITS, CLASSES], ids=["bernoulli", "categorical"])
def test_reinforce_has_the_moments_of_log_prob(logits):
    """REINFORCE has the moments of the cost times the gradient of torch's ``log_prob``."""
    torch.manual_seed(0)

    def surrogate():
        rows = logits.expand(ROWS, *logits.shape).clone().requires_grad_()
        kind = distributions.Bernoulli if logits.ndim == 1 else distributions.OneHotCategorical
        drawn = kind(logits=rows).sample()
        values = cost(drawn)
        log_q = kind(logits=rows).log_prob(drawn).flatten(1).sum(1)
        (gradients,) = torch.autograd.grad((values * log_q).sum(), rows)
        return torch.cat([values[:, None], gradients.flatten(1)], 1)

    assert same_moments(ours("reinforce", logits), surrogate()) > ALPHA


def test_other_moments_are_told_apart():
    """The comparison can fail: a temperature off by 2 % is caught."""
    torch.manual_seed(0)
    mine = ours("gumbel_softmax[temperature=0.7]", CLASSES)
    assert same_moments(mine, theirs(CLASSES, lambda t: F.gumbel_softmax(t, 0.686))) < ALPHA


def test_log_prob_is_that_of_torch():
    """Nodes and torch's distributions agree on log-probabilities, means and scores."""
    torch.manual_seed(0)
    bits, classes = Bernoulli(BITS.double()), Categorical(CLASSES.double())
    for node, kind in ((bits, distributions.Bernoulli), (classes, distributions.OneHotCategorical)):
        value = node.sample()
        logits = node.logits.clone().requires_grad_()
        log_q = kind(logits=logits).log_prob(value).sum()
        (score,) = torch.autograd.grad(log_q, logits)
        torch.testing.assert_close(node.log_prob(value), log_q.detach())
        torch.testing.assert_close(node.score(value), score)
        torch.testing.assert_close(node.mean, kind(logits=node.logits).mean)
