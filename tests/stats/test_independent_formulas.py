"""Every value of a gradient, its interval and its p-value, computed anew from raw replicates.

What is here follows docs/explanation/statistics.md and the papers it names, and uses nothing of ``estbench.stats``: a
batch is left out by leaving it out, quantiles are scipy's.
"""

import functools
import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from estbench import load_estimator
from estbench.engine.moments.gradient_metrics import compared
from estbench.engine.moments.moments import Moments
from tests.support.sweeps import sweep

BATCHES, PER_BATCH = 32, 16
T = stats.t(BATCHES - 1).ppf(0.975)
PAIRS = [*itertools.combinations(range(BATCHES), 2)]
LOGITS = {"half": 0.5, "rarer": 1.5}
NAMES = (
    "reinforce", "rloo", "arm", "disarm", "muprop", "gumbel_softmax[temperature=0.5]",
    "gumbel_softmax[temperature=2.0]", "straight_through", "reinmax", "rebar", "st_gumbel_softmax[temperature=1.0]",
    "finite_differences",
)  # fmt: skip


@functools.cache
def replicates(name, place):
    """Gradients ``(batches, per_batch, 3)`` of three bits that share a cost, and the true one: raw, in float64."""
    torch.manual_seed(len(name))
    logit = LOGITS[place]
    logits = torch.tensor([[logit, -0.5 * logit, 0.3]], dtype=torch.float64)
    from estbench import Bernoulli

    weights = torch.tensor([1.5, -0.7, 0.4], dtype=torch.float64)

    def program_of(logits):
        def program(sample):
            b, _ = sample("b", Bernoulli(logits))
            return 2 * ((b * weights).sum(-1) - 0.4).tanh() + 0.6

        return program

    def gradient(estimator):
        return torch.func.grad(lambda logits: load(estimator)(program_of(logits)))(logits).flatten()

    load = functools.cache(lambda estimator: load_estimator(estimator).to(torch.float64).prepare(program_of(logits)))
    load(name).eval()
    drawn = torch.func.vmap(lambda _: gradient(name), randomness="different")(torch.empty(BATCHES * PER_BATCH))
    return drawn.detach().reshape(BATCHES, PER_BATCH, -1).numpy(), gradient("exact").detach().numpy()


def without_each(statistic, batches):
    """A statistic of all batches, and of all but each."""
    kept = [np.delete(np.arange(batches), out) for out in range(batches)]
    return statistic(np.arange(batches)), np.array([statistic(each) for each in kept])


def log_jackknife(statistic):
    value, without = without_each(statistic, BATCHES)
    margin = T * (BATCHES - 1) * np.log(without).std(ddof=1) / BATCHES**0.5
    return value, value * np.exp(-margin), value * np.exp(margin)


def pair_mean(vectors):
    """The mean inner product of the vectors of different batches."""
    return np.mean([one @ other for one, other in itertools.combinations(vectors, 2)])


def noise(vectors):
    """Mean squared inner product of different batches' deviations, less the squared mean; and their mean square."""
    deviations = vectors - vectors.mean(0)
    products = np.array([deviations[i] @ deviations[j] for i, j in PAIRS])
    return products.var(), np.mean(np.sum(deviations**2, 1)) * BATCHES / (BATCHES - 1)


def score_interval(vectors, unit=1.0, unit_variance=0.0, covariance=0.0):
    """The squared norms over a unit that a score test does not reject."""
    value, (scatter, trace) = pair_mean(vectors), noise(vectors)
    base = 2 * scatter / (BATCHES * (BATCHES - 1))
    dimension = max(trace**2 / scatter, 1.0)
    quantile = (stats.f(dimension, dimension * (BATCHES - 1)).ppf(0.95) - 1) * (dimension / 2) ** 0.5
    base *= max(quantile / T, 1.0) ** 2
    along = np.var(vectors @ vectors.mean(0), ddof=1) / np.sum(vectors.mean(0) ** 2)

    def rejected(x):
        ratio = x / unit
        variance = base + 4 * along / BATCHES * x - 2 * ratio * covariance + ratio**2 * unit_variance
        return (value - x) ** 2 > T**2 * variance

    return value / unit, *(end / unit for end in crossings(rejected, max(value, 0.0)))


def crossings(rejected, value):
    """Where a test that does not reject a value begins to, below and above it, by bisection."""
    assert not rejected(value)
    ends = []
    for direction in (-1.0, 1.0):
        low, high = 0.0, abs(value) + 1e-9
        while not rejected(value + direction * high):
            high *= 2
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (low, middle) if rejected(value + direction * middle) else (middle, high)
        ends.append(value + direction * low)
    return ends


def pooled(drawn):
    def variance(kept):
        own = drawn[kept].reshape(-1, drawn.shape[-1])
        return own.var(0, ddof=1).sum()

    return variance


def figures(drawn, truth):
    """All values with their intervals."""
    means = drawn.mean(1)
    errors, variance = means - truth, pooled(drawn)
    found = {"variance": log_jackknife(variance)}
    room = T**2 / (2 * BATCHES * PER_BATCH)
    value, low, high = found["variance"]
    found["variance"] = value, low * (1 - room), high
    entries = drawn.shape[-1]
    found["variance_per_coordinate"] = tuple(end / entries for end in found["variance"])
    found["log_variance_per_coordinate"] = tuple(np.log(found["variance_per_coordinate"]))
    found["squared_bias"] = score_interval(errors)
    found["bias"] = tuple(np.sqrt(np.maximum(found["squared_bias"], 0)))
    norm = truth @ truth
    found["relative_bias"] = tuple(np.sqrt(np.maximum(score_interval(errors, norm), 0)))
    found["mse"] = log_jackknife(lambda kept: variance(kept) + pair_mean(errors[kept]))
    whole, without = without_each(variance, BATCHES)
    each = BATCHES * whole - (BATCHES - 1) * without
    shared = 2 * np.cov(means @ means.mean(0), each)[0, 1] / BATCHES
    snr = score_interval(means, whole, each.var(ddof=1) / BATCHES, shared)
    found["snr"] = tuple(np.sqrt(np.maximum(snr, 0)))
    found["cosine"] = cosine(means, truth)
    return found


def cosine(means, truth):
    """Of the mean and the truth; near 1 from the part of the batches' means that is orthogonal to the truth."""
    norm, own = truth @ truth, pair_mean(means)

    def of(kept):
        return means[kept].mean(0) @ truth / np.sqrt(pair_mean(means[kept]) * norm)

    with np.errstate(invalid="ignore"):
        value, without = without_each(of, BATCHES)
    if score_interval(means)[1] <= 0 or np.isnan([value, *without]).any():
        return np.nan, -np.inf, np.inf
    if value**2 < 0.5:
        margin = T * (BATCHES - 1) * without.std(ddof=1) / BATCHES**0.5
        return tuple(np.clip([value, value - margin, value + margin], -1, 1))
    orthogonal = means - np.outer(means @ truth, truth) / norm
    along = np.var(means @ means.mean(0), ddof=1) / np.sum(means.mean(0) ** 2)
    variance = 2 * noise(means)[0] / (BATCHES * (BATCHES - 1)) + 4 * along / BATCHES * own
    sines = np.clip(score_interval(orthogonal, own, variance)[1:], 0, 1)
    ends = np.sign(value) * np.sqrt(1 - sines)
    value = np.clip(value, -1, 1)
    return value, min(*ends, value), max(*ends, value)


def tail(vectors):
    """Of Pearson's type III with the moments of the sum over all sign patterns; and the share of patterns drawn."""
    gram = vectors @ vectors.T
    np.fill_diagonal(gram, 0)
    deviation = np.sqrt(sum((2 * gram[i, j]) ** 2 for i, j in PAIRS))
    third = sum(6 * 8 * gram[i, j] * gram[j, k] * gram[i, k] for i, j, k in itertools.combinations(range(BATCHES), 3))
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (40_000, BATCHES))
    share = np.mean(((signs @ gram) * signs).sum(1) >= gram.sum())
    return stats.pearson3(max(third / deviation**3, 1e-3)).sf(gram.sum() / deviation), share


@pytest.mark.parametrize("place", sweep(LOGITS, ["half"]))
@pytest.mark.parametrize("name", NAMES)
def test_every_interval_is_that_of_its_formula(name, place):
    """Twelve estimators at two points, ten values each with both ends: the same from raw replicates to 6 digits."""
    drawn, truth = replicates(name, place)
    values = torch.tensor(drawn)
    own = Moments(BATCHES * PER_BATCH, values.mean(1), values.var(1).sum(-1), 1e-16)
    known = compared(own, Moments.exact(torch.tensor(truth)))
    for figure, wanted in figures(drawn, truth).items():
        found = getattr(known, figure)()
        if figure in {"bias", "relative_bias"} and wanted[0] == 0:
            assert found.low == 0
            assert found.high == pytest.approx(wanted[2], rel=1e-6)
            continue
        assert tuple(found) == pytest.approx(wanted, rel=1e-6, abs=1e-12, nan_ok=True), figure
    pearson, share = tail(drawn.mean(1) - truth)
    assert known.unbiased_p() == pytest.approx(pearson, rel=1e-5, abs=1e-12)
    assert known.unbiased_p() == pytest.approx(share, abs=0.03)
