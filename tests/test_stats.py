import numpy as np
import pytest

from estbench.stats import jackknife, mean_interval, median_interval


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
