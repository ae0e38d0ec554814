"""The permutation node against products of softmax probabilities, written in plain Python."""

import itertools
import math

import pytest
import torch
from scipy.stats import chi2
from torch.autograd import gradcheck

from estbench import Permutation, load_estimator

LOGITS = torch.tensor([0.5, -0.3, 0.2, -1.0], dtype=torch.float64)
INF = float("inf")


def enumerated(logits):
    """The places of all orders, and their log-probabilities: items are drawn one after another from what is left."""
    rows, logs = [], []
    for order in itertools.permutations(range(len(logits))):
        left, total = list(range(len(logits))), 0.0
        for item in order:
            total = total + logits[item] - logits[left].logsumexp(0)
            left.remove(item)
        rows.append([order.index(item) for item in range(len(logits))])
        logs.append(total)
    return torch.tensor(rows, dtype=logits.dtype), torch.stack(logs)


@pytest.mark.parametrize("scale", [1.0, 60.0])
def test_log_prob_mean_and_entropy_are_those_of_the_enumeration(scale):
    """At logits of order 1 and of up to 60, all agree to 1e-9, and the probabilities sum to 1."""
    values, logs = enumerated(scale * LOGITS)
    node = Permutation(scale * LOGITS)
    torch.testing.assert_close(node.log_prob(values), logs, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(node.mean, logs.exp() @ values, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(node.entropy(), -(logs.exp() * logs).sum(), rtol=1e-9, atol=1e-9)
    assert float(logs.exp().sum()) == pytest.approx(1)


def test_the_support_holds_every_order_once():
    """The support has n! distinct rows, each with every place once; the most probable one is among the first by q."""
    node = Permutation(LOGITS.expand(2, 4))
    support = node.enumerate_support()
    assert support.shape == (24, 1, 4)
    assert node.cardinality == 24
    assert len(support.unique(dim=0)) == 24
    assert (support.sort(-1).values == torch.arange(4)).all()
    likely = Permutation(LOGITS).most_probable()
    assert Permutation(LOGITS).log_prob(likely) == Permutation(LOGITS).log_prob(support[:, 0]).max()


def test_score_and_slope_of_the_mean_are_derivatives():
    """``score``, ``mean_slope`` and the second derivatives agree with autograd and with differences."""
    value = enumerated(LOGITS)[0][7]
    leaf = LOGITS.clone().requires_grad_()
    (found,) = torch.autograd.grad(Permutation(leaf).log_prob(value), leaf)
    torch.testing.assert_close(found, Permutation(LOGITS).score(value))
    direction = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    (found,) = torch.autograd.grad(Permutation(leaf).mean @ direction, leaf)
    torch.testing.assert_close(found, Permutation(LOGITS).mean_slope(direction))
    assert gradcheck(lambda logits: Permutation(logits).log_prob(value), leaf)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_sampling_frequencies_are_the_probabilities(dtype):
    """A chi-squared test of 20,000 orders, with a false alarm in a million runs; of half precision in float32."""
    torch.manual_seed(0)
    logits = LOGITS.to(dtype)
    values, logs = enumerated(logits.double())
    drawn = Permutation(logits.expand(20_000, 4)).sample()
    counts = (drawn[:, None].double() == values).all(-1).sum(0)
    assert counts.sum() == 20_000
    wanted = 20_000 * logs.exp()
    assert chi2.sf(((counts - wanted).square() / wanted).sum(), len(wanted) - 1) > 1e-6


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_saturated_logits_give_finite_numbers(sign):
    """At logits of +-60 in float32, samples are orders, and log q, score and their derivatives are finite."""
    logits = (sign * 60 * torch.tensor([1.0, -1.0, 0.0, 1.0, -1.0])).requires_grad_()
    node = Permutation(logits)
    for value in (node.sample(), torch.arange(5.0), torch.arange(5.0).flip(0)):
        assert sorted(value.tolist()) == [0, 1, 2, 3, 4]
        (slope,) = torch.autograd.grad(node.log_prob(value), logits, retain_graph=True)
        torch.testing.assert_close(slope, node.score(value).detach())
        assert slope.isfinite().all()


def test_masked_items_come_last_in_their_order_and_have_no_gradient():
    """With two of five masked, samples, probabilities and gradients are those of the other three."""
    logits = torch.tensor([0.5, -INF, 0.2, -1e9, -0.4], dtype=torch.float64)
    leaf = logits.clone().requires_grad_()
    node = Permutation(leaf)
    drawn = Permutation(logits.expand(500, 5)).sample()
    assert (drawn[:, 1] == 3).all()
    assert (drawn[:, 3] == 4).all()
    rest, part = torch.tensor([0, 2, 4]), logits[[0, 2, 4]].clone().requires_grad_()
    value = drawn[0]
    mine, theirs = node.log_prob(value), Permutation(part).log_prob(value[rest])
    torch.testing.assert_close(mine, theirs)
    found, wanted = torch.autograd.grad(mine, leaf)[0], torch.autograd.grad(theirs, part)[0]
    torch.testing.assert_close(found[rest], wanted)
    assert found[1] == found[3] == 0
    assert (node.score(value)[[1, 3]] == 0).all()
    torch.testing.assert_close(node.mean[rest], Permutation(part).mean)
    assert node.context.isfinite().all()
    exact = load_estimator("exact")(lambda sample: sample("z", node)[0][..., 0].square())
    other = load_estimator("exact")(lambda sample: sample("z", Permutation(part))[0][..., 0].square())
    torch.testing.assert_close(exact, other)


def test_what_defines_no_distribution_is_refused():
    """All items masked, and more than 8 items for an entropy, are refused in one sentence; NaN by ``prepare``."""
    with pytest.raises(ValueError, match="needs a class that is not masked"):
        Permutation(torch.full((2, 3), -INF))
    with pytest.raises(ValueError, match="of at most 8 items"):
        Permutation(torch.zeros(9)).entropy()
    with pytest.raises(ValueError, match="'z' hold NaN"):
        load_estimator("rloo").prepare(lambda sample: sample("z", Permutation(torch.full((3,), math.nan)))[0].sum(-1))


def test_departures_are_the_probability_of_another_order():
    """What decides whether replicates are enough is 1 minus the probability of the likeliest order."""
    logs = enumerated(LOGITS)[1]
    torch.testing.assert_close(Permutation(LOGITS).departures(), 1 - logs.exp().max())


def test_exact_says_that_there_are_too_many_orders():
    """Ten items have 3,628,800 orders, more than ``exact`` enumerates."""
    with pytest.raises(ValueError, match="Exact enumerates up to 262144 tuples of joint values"):
        load_estimator("exact")(lambda sample: sample("z", Permutation(torch.zeros(10)))[0].sum(-1))
