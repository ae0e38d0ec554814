import numpy as np
import pytest

from estbench.stats import SquaredNorm, holm, jackknife, mean_interval, median_interval


def test_mean_interval_agrees_with_scipy():
    """The interval of a mean is Student's."""
    from scipy import stats

    sample = np.random.default_rng(0).normal(size=20)
    expected = stats.ttest_1samp(sample, 0).confidence_interval(0.95)
    assert mean_interval(sample)[1:] == pytest.approx(tuple(expected))


def test_one_value_has_no_interval():
    """A single value is its own mean and says nothing of its spread."""
    value, low, high = mean_interval(np.array([3.0]))
    assert value == 3
    assert np.isnan([low, high]).all()


@pytest.mark.parametrize("n", [6, 12, 20, 41])
def test_median_interval_covers_at_least_its_level_and_is_not_wasteful(n):
    """By the binomial law the ranks cover 95 % or more, and one rank further in they would not."""
    from scipy import stats

    ordered = np.arange(n, dtype=float)
    _, low, high = median_interval(ordered)
    missed = 2 * stats.binom.cdf(low, n, 0.5)
    assert high == n - 1 - low
    assert missed <= 0.05 < 2 * stats.binom.cdf(low + 1, n, 0.5)


def test_jackknife_of_a_mean_is_the_mean_interval():
    """For the mean, leaving one out gives Student's interval exactly."""
    sample = np.random.default_rng(1).exponential(size=12)
    found = jackknife(lambda w: float(w @ sample / w.sum()), 12)
    assert found == pytest.approx(mean_interval(sample))


@pytest.mark.parametrize("dimensions", [1, 3, 50])
def test_the_test_of_a_zero_mean_keeps_its_level(dimensions):
    """Over 2,000 simulations without a mean, p-values are below 5 % in 3.5 to 6.5 % and below 0.5 % in at most 1 %."""
    random = np.random.default_rng(3)
    scale = np.logspace(0, -1, dimensions)
    p = [SquaredNorm.of(e @ e.T).p for e in random.normal(size=(2000, 32, dimensions)) * scale]
    assert 0.035 <= np.mean(np.array(p) < 0.05) <= 0.065
    assert np.mean(np.array(p) < 0.005) <= 0.01


def test_the_test_of_a_zero_mean_sees_one_that_is_not():
    """A mean of one standard deviation in 32 batches has a p-value below 1e-6."""
    e = np.random.default_rng(4).normal(1.0, 1.0, size=(32, 5))
    assert SquaredNorm.of(e @ e.T).p < 1e-6


def test_holm_is_the_textbook_adjustment():
    """Adjusted p-values are those of the step-down procedure, and those that are missing count for nothing."""
    assert holm([0.01, 0.04, 0.03, float("nan")]) == pytest.approx([0.03, 0.06, 0.06, float("nan")], nan_ok=True)
