"""The subset node against the enumeration of all its subsets."""

import itertools

import pytest
import torch
from scipy.stats import chi2
from torch.autograd import gradcheck

from estbench import Bernoulli, Subset, load_estimator

LOGITS = torch.tensor([0.5, -0.3, 0.2, -1.0, 0.8], dtype=torch.float64)
INF = float("inf")


def enumerated(logits, k):
    """All subsets as rows of 0 and 1, and their log-probabilities, from the definition."""
    items = range(len(logits))
    rows = [[float(i in chosen) for i in items] for chosen in itertools.combinations(items, k)]
    values = torch.tensor(rows, dtype=logits.dtype)
    # a product of 0 and an infinite logit is 0 here
    totals = torch.where(values > 0, logits, 0.0).sum(-1)
    return values, totals - totals.logsumexp(0)


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("scale", [1.0, 60.0])
def test_log_prob_mean_and_entropy_are_those_of_the_enumeration(k, scale):
    """At logits of order 1 and of up to 60, log-probabilities, marginals and entropy agree to 1e-9."""
    logits = scale * LOGITS
    values, logs = enumerated(logits, k)
    node = Subset(logits, k)
    torch.testing.assert_close(node.log_prob(values), logs, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(node.mean, logs.exp() @ values, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(node.entropy(), -(logs.exp() * logs).sum(), rtol=1e-7, atol=1e-9)


def test_support_is_the_enumeration():
    """The support holds every subset once, in number ``cardinality``."""
    node = Subset(LOGITS.expand(3, 5), 2)
    support = node.enumerate_support()
    assert support.shape == (10, 1, 5)
    assert node.cardinality == 10
    torch.testing.assert_close(support[:, 0], enumerated(LOGITS, 2)[0])


@pytest.mark.parametrize("k", [1, 3, 5])
def test_the_most_probable_subset_is_that_of_the_enumeration(k):
    """No other subset has a larger probability."""
    values, logs = enumerated(LOGITS, k)
    torch.testing.assert_close(Subset(LOGITS, k).most_probable(), values[logs.argmax()])


@pytest.mark.parametrize("k", [2, 5])
def test_log_prob_and_mean_are_differentiable_twice(k):
    """Derivatives with respect to the logits agree with differences."""
    value = enumerated(LOGITS, k)[0][-1]
    logits = LOGITS.clone().requires_grad_()
    assert gradcheck(lambda logits: Subset(logits, k).log_prob(value), logits)
    assert gradcheck(lambda logits: Subset(logits, k).mean, logits)


def test_score_and_slope_of_the_mean_are_derivatives():
    """``score`` is the derivative of the log-probability, and ``mean_slope`` the items' covariance matrix."""
    values, logs = enumerated(LOGITS, 2)
    node, logits = Subset(LOGITS, 2), LOGITS.clone().requires_grad_()
    (found,) = torch.autograd.grad(Subset(logits, 2).log_prob(values[3]), logits)
    torch.testing.assert_close(found, node.score(values[3]))
    centred = values - logs.exp() @ values
    direction = torch.tensor([1.0, -2.0, 0.5, 3.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(
        node.mean_slope(direction), torch.einsum("s,si,sj->ij", logs.exp(), centred, centred) @ direction
    )


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_saturated_logits_give_finite_values_and_derivatives(sign):
    """At logits of +-60 in float32 all is finite, and the marginals sum to k."""
    logits = (sign * 60 * torch.tensor([1.0, -1.0, -1.0, 1.0, -1.0, 1.0])).requires_grad_()
    node = Subset(logits, 3)
    value = node.sample()
    (slope,) = torch.autograd.grad(node.log_prob(value) + node.mean.square().sum(), logits)
    assert slope.isfinite().all()
    assert value.sum() == 3
    assert float(node.mean.detach().sum()) == pytest.approx(3, abs=1e-5)


@pytest.mark.parametrize(
    ("logits", "k"),
    [([0.5, -INF, 0.2, -1.0, 0.8], 2), ([0.5, INF, 0.2, -1.0, 0.8], 2), ([0.5, INF, -INF, -1.0, 0.8], 3)],
)
def test_masks_restrict_the_subsets(logits, k):
    """A logit of -inf keeps an item out and +inf keeps it in, in samples, marginals, probabilities and derivatives."""
    logits = torch.tensor(logits, dtype=torch.float64)
    values, _ = enumerated(LOGITS, k)
    legal = ~((logits.isneginf() & (values > 0)) | (logits.isposinf() & (values < 1))).any(-1)
    totals = torch.where(logits.isfinite() & (values > 0), logits, 0.0).sum(-1)
    logs = totals - totals[legal].logsumexp(0)
    leaf = logits.clone().requires_grad_()
    node = Subset(leaf, k)
    torch.testing.assert_close(node.log_prob(values)[legal].detach(), logs[legal])
    assert (node.log_prob(values)[~legal] < -1000).all()
    mean = (logs.exp()[legal, None] * values[legal]).sum(0)
    torch.testing.assert_close(node.mean.detach(), mean)
    (slope,) = torch.autograd.grad(node.log_prob(values[legal][0]), leaf)
    free = logits.isfinite()
    torch.testing.assert_close(slope[free], (values[legal][0] - mean)[free])
    assert (slope[~free] == 0).all()
    drawn = Subset(logits.expand(200, 5), k).sample()
    assert (drawn[:, logits.isposinf()] == 1).all()
    assert (drawn[:, logits.isneginf()] == 0).all()
    assert (drawn.sum(-1) == k).all()


def test_sampling_frequencies_are_the_probabilities():
    """A chi-squared test of 20,000 subsets against the enumeration, with a false alarm in a million runs."""
    torch.manual_seed(0)
    values, logs = enumerated(LOGITS, 2)
    drawn = Subset(LOGITS.expand(20_000, 5), 2).sample()
    assert (drawn.sum(-1) == 2).all()
    counts = (drawn[:, None] == values).all(-1).sum(0)
    wanted = 20_000 * logs.exp()
    assert chi2.sf(((counts - wanted).square() / wanted).sum(), len(wanted) - 1) > 1e-6


def test_probabilities_of_many_items_agree_with_independent_bits_given_their_number():
    """For 40 items the log-probability is that of independent bits, less that of their number by a recursion."""
    logits = torch.randn(40, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    number = torch.zeros(41, dtype=torch.float64)
    number[0] = 1.0
    for p in logits.sigmoid():
        number = number * (1 - p) + torch.cat([number.new_zeros(1), number[:-1] * p])
    value = Subset(logits, 13).sample()
    wanted = Bernoulli(logits).log_prob(value) - number[13].log()
    torch.testing.assert_close(Subset(logits, 13).log_prob(value), wanted, rtol=1e-9, atol=1e-9)


def prepared(logits):
    load_estimator("rloo").prepare(lambda sample: sample("z", Subset(logits, 2))[0].sum(-1))


@pytest.mark.parametrize("use", [lambda logits: Subset(logits, 2), prepared])
def test_too_few_unmasked_items_are_refused_in_one_sentence(use):
    """Where masks leave no subset, the error says how many items are needed and how many there are."""
    logits = torch.tensor([[0.1, 0.2, 0.3], [0.5, -INF, -INF]])
    with pytest.raises(ValueError, match=r"at least 2 that are not masked by -inf; got a vector with 1$"):
        use(logits)


@pytest.mark.parametrize(("k", "error"), [(0, ValueError), (4, ValueError), (True, TypeError), (1.0, TypeError)])
def test_sizes_that_no_subset_has_are_refused(k, error):
    """A subset has a whole number of items, from 1 to all."""
    with pytest.raises(error, match="Subset takes"):
        Subset(torch.zeros(3), k)
