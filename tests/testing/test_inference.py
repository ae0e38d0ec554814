"""The statistics of the conformance kit, and its oracle."""

from functools import partial

import pytest
import torch
from scipy.stats import binom, kstest

from estbench.core.node import Bernoulli
from estbench.plugins.registry import load_estimator
from estbench.testing import POWER, RESOLUTION
from estbench.testing.inference import RunningCovariance, Scale, needed, noncentrality, resolution, zero_mean_test
from estbench.testing.oracle import TooManyValuesError, objective, truth
from estbench.testing.programs import RECIPES
from estbench.testing.statistical import ALPHA
from estbench.testing.subject import FIRST_LOOK, FIRST_SHARE, MeanErrors, Subject


@pytest.fixture(autouse=True)
def _one_thread():
    """The programs are so small that more threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def samples(count, n, size, draw):
    """Means and covariances of ``n`` correlated vectors, ``count`` times over."""
    mixing = torch.randn(size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for _ in range(count):
        moments = RunningCovariance(size)
        moments.add(draw(n, size) @ mixing)
        yield moments


@pytest.mark.parametrize(
    "draw",
    [torch.randn, lambda *shape: torch.empty(*shape).exponential_() - 1],
    ids=["normal", "exponential"],
)
def test_false_alarms_are_as_stated(draw):
    """Of true null hypotheses at most the stated share is rejected, of skewed data, too."""
    torch.manual_seed(0)
    level, count, n = 0.02, 2000, 2048
    draw64 = lambda *shape: draw(*shape).double()  # noqa: E731
    p = [zero_mean_test(m.mean, m.covariance / n, n).p for m in samples(count, n, 8, draw64)]
    rejected = sum(value < level for value in p)
    assert rejected <= binom.isf(1e-4, count, level)


@pytest.mark.long
def test_p_values_of_a_correct_estimator_are_uniform():
    """Hotelling's p-values of REINFORCE over 200 seeds are uniform."""
    p = [
        MeanErrors(Subject(partial(load_estimator, "reinforce"), seed, FIRST_LOOK), RECIPES[0], 1e-9).judge().t2
        for seed in range(200)
    ]
    assert kstest(p, "uniform").pvalue > 1e-3


def test_resolution_is_what_is_caught():
    """A bias of the stated resolution in the noisiest direction is caught with the stated power."""
    torch.manual_seed(0)
    alpha, n, count = ALPHA * (1 - FIRST_SHARE), 4096, 500
    scale = Scale(torch.zeros(6, dtype=torch.long), torch.ones(6, dtype=torch.float64))
    (first,) = samples(1, n, 6, partial(torch.randn, dtype=torch.float64))
    worst = torch.linalg.eigh(first.covariance)[1][:, -1]
    shift = resolution(first, scale, alpha / 2) * worst
    found = [
        zero_mean_test(m.mean + shift, m.covariance / n, n).p < alpha
        for m in samples(count, n, 6, partial(torch.randn, dtype=torch.float64))
    ]
    assert sum(found) >= binom.ppf(1e-4, count, POWER)


def test_needed_replicates_resolve_one_percent():
    """With the replicates that the first look asks for, the resolution is 1 %."""
    torch.manual_seed(0)
    scale = Scale(torch.zeros(6, dtype=torch.long), torch.full((6,), 100.0, dtype=torch.float64))
    draw = partial(torch.randn, dtype=torch.float64)
    (first,) = samples(1, 2**15, 6, draw)
    n = needed(first, scale, ALPHA)
    (last,) = samples(1, n, 6, draw)
    assert resolution(last, scale, ALPHA) == pytest.approx(RESOLUTION, rel=0.05)


def test_noncentrality_of_one_dimension():
    """In one dimension the noncentrality is the square of the two normal quantiles' sum."""
    assert noncentrality(0.05, 1, 0.9) == pytest.approx((1.959964 + 1.281552) ** 2, rel=1e-3)


@pytest.mark.parametrize("bound", [1, 2, 3])
@pytest.mark.parametrize("recipe", [RECIPES[0], RECIPES[2]], ids=lambda recipe: recipe.name)
def test_oracle_agrees_with_exact(recipe, bound):
    """The kit's own enumeration and the estimator ``exact`` agree on value and gradient."""
    net = recipe.net()
    value = load_estimator("exact", samples=bound)(net())
    value.backward()
    expected, gradients = truth(recipe, bound)
    assert value.item() == pytest.approx(expected)
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name])


def test_oracle_of_one_bit_in_closed_form():
    """The two-sample bound of one bit is the sum over its three multisets."""
    net = lambda sample: sample("b", Bernoulli(torch.zeros(1, 1, dtype=torch.float64)))[0].sum(-1)  # noqa: E731
    e = torch.tensor([0.0, -1.0], dtype=torch.float64).exp()
    expected = -(e[0].log() + 2 * ((e[0] + e[1]) / 2).log() + e[1].log()) / 4
    torch.testing.assert_close(objective(net, 2), expected)


def test_oracle_refuses_what_is_too_large():
    """The oracle does not start on more multisets than it can hold."""
    with pytest.raises(TooManyValuesError, match="multisets"):
        objective(RECIPES[3].net()(), 8)
