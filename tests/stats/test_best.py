"""Multiple comparisons with the best, against enumeration by loops, scipy and published tables."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from estbench import stats


def by_loops(pairs):
    """Edwards & Hsu's intervals, case by case: for each estimator that may be the best, the difference to it."""
    gap, margin, count = pairs.gap, pairs.margin, len(pairs.gap)
    others = [[j for j in range(count) if j != i] for i in range(count)]
    candidates = [i for i in range(count) if all(gap[i, j] >= -margin[i, j] for j in others[i])]
    found = []
    for i in range(count):
        cases = [(gap[i, b] - margin[b, i], min(gap[i, b] + margin[b, i], 0)) for b in candidates if b != i]
        if i in candidates:
            bounds = [(gap[i, j] - margin[i, j], gap[i, j] + margin[i, j]) for j in others[i]]
            cases.append((max(min(low for low, _ in bounds), 0), min(high for _, high in bounds)))
        found.append((min(low for low, _ in cases), max(high for _, high in cases)))
    return np.array(found).T, candidates


def drawn(seed, seeds=6, estimators=7):
    """Runs of estimators with unlike means, spreads and missing seeds."""
    random = np.random.default_rng(seed)
    runs = random.normal(np.linspace(0, 4, estimators), np.linspace(0.2, 2, estimators), (seeds, estimators))
    runs[0, 2] = np.nan
    return runs + random.normal(size=(seeds, 1))


@pytest.mark.parametrize("seed", range(5))
def test_intervals_are_the_unions_over_all_that_may_be_the_best(seed):
    """Of paired runs with a missing seed, and of independent values with errors that all differ."""
    random = np.random.default_rng(seed)
    value, error = random.normal(5, 1, 7), random.uniform(0.05, 1, 7)
    independent = stats.best_of_independent(value, value - 1.96 * error, value + 1.96 * error, higher=False)
    for pairs in (stats.best_of_paired(drawn(seed)), independent):
        (low, high), candidates = by_loops(pairs)
        found = pairs.with_best()
        assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
        assert list(np.flatnonzero(found.candidate)) == candidates
        itself = np.eye(7, dtype=bool)
        assert found.difference == pytest.approx(np.where(itself, np.inf, pairs.gap).min(1))


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.999])
def test_a_p_value_is_the_level_at_which_its_interval_excludes_0(level):
    """At every level, of the same runs: below one less the level if and only if the upper end is below 0."""
    for seed in range(20):
        found = stats.best_of_paired(drawn(seed), level).with_best()
        assert ((found.p < 1 - level) == (found.high < 0)).all()


def test_two_estimators_are_compared_by_students_paired_test():
    """There is one comparison, so that nothing is corrected."""
    runs = np.random.default_rng(0).normal([0.0, 2.0], size=(5, 2))
    found = stats.best_of_paired(runs).with_best()
    expected = scipy_stats.ttest_rel(*runs.T)
    assert found.p[0] == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval()
    assert (found.low[0], found.high[0]) == (pytest.approx(interval.low), pytest.approx(min(interval.high, 0)))


def test_critical_values_are_those_of_dunnetts_table():
    """Two-sided, 5 %, infinite degrees of freedom, 1 to 9 comparisons with a control of the same variance.

    Dunnett (1964), New tables for multiple comparisons with a control, Biometrics 20, table II.
    """
    table = [1.96, 2.21, 2.35, 2.44, 2.51, 2.57, 2.61, 2.65, 2.69]
    for count, expected in enumerate(table, 1):
        found = stats.dunnett_quantile(np.full((count + 1, count + 1), 0.5**0.5))
        assert found == pytest.approx(expected, abs=0.006)


def test_p_values_of_comparisons_with_a_control_are_scipys():
    """Of large samples of unlike sizes, whose joint distribution scipy integrates by a method of its own."""
    random = np.random.default_rng(1)
    control, *samples = (random.normal(mean, 1, n) for mean, n in ((0, 2000), (0.05, 500), (0.08, 4000), (0.07, 900)))
    expected = scipy_stats.dunnett(*samples, control=control, random_state=random).pvalue
    groups = [control, *samples]
    pooled = np.sqrt(np.mean(np.concatenate([(group - group.mean()) ** 2 for group in groups])))
    error = pooled / np.sqrt([len(group) for group in groups])
    both = np.hypot(error[:, None], error)
    z = np.abs(np.subtract.outer([g.mean() for g in groups], [g.mean() for g in groups])) / both
    assert stats.dunnett_p(z, error[:, None] / both)[0, 1:] == pytest.approx(expected, abs=0.01)


def test_ten_equal_estimators_are_told_apart_in_no_more_than_5_of_100():
    """Also where their spreads differ a hundredfold, and the intervals hold the differences: both over 500 runs.

    If the level is exactly 5 %, a share above 8 % is seen in 2 of 1,000 trials.
    """
    random = np.random.default_rng(0)
    for seeds, spread in ((3, np.ones(10)), (5, np.append(np.ones(9), 30)), (10, np.geomspace(0.1, 10, 10))):
        alarms = 0
        for _ in range(500):
            found = stats.best_of_paired(spread * random.normal(size=(seeds, 10)) + random.normal()).with_best()
            alarms += bool((found.high < 0).any() or (found.low > 0).any())
        assert alarms / 500 < 0.08


def test_all_intervals_hold_at_once_in_95_of_100():
    """The differences of each to the best of the others, of which two are nearly equal; over 500 runs."""
    random, means = np.random.default_rng(0), np.array([0.0, 0.1, 0.5, 2.0, 6.0])
    truth = means - np.array([np.delete(means, i).max() for i in range(5)])
    held = 0
    for _ in range(500):
        found = stats.best_of_paired(means + random.normal(size=(5, 5))).with_best()
        held += bool(((found.low <= truth) & (truth <= found.high)).all())
    assert held / 500 > 0.92


def test_without_a_spread_what_differs_is_told_apart():
    """Bytes and other exact values; values that are the same are tied."""
    value = np.array([1.0, 1.0, 2.0])
    assert stats.best_of_independent(value, value, value, higher=False).with_best().p.tolist() == [1, 1, 0]
    assert stats.best_of_paired(np.tile(-value, (3, 1))).with_best().p.tolist() == [1, 1, 0]


def test_pairs_without_two_common_seeds_are_not_told_apart():
    """Their interval is unbounded; one estimator alone is refused."""
    runs = np.array([[0.0, np.nan], [1.0, 9.0], [np.nan, 8.0]])
    found = stats.best_of_paired(runs).with_best()
    assert found.p.tolist() == [1, 1]
    assert found.low[0] == -np.inf
    with pytest.raises(ValueError, match="at least 2 estimators; got 1"):
        stats.best_of_paired(runs[:, :1]).with_best()


@pytest.mark.parametrize(("seeds", "estimators"), [(3, 2), (5, 8), (12, 4)])
def test_a_visible_difference_is_found_in_80_of_100(seeds, estimators):
    """Simulated: two estimators that far, the others much worse; 600 runs, a share off by 6 points in 3 of 10,000."""
    random = np.random.default_rng(0)
    difference = stats.visible_difference(2**0.5, seeds, estimators - 1)
    means = np.concatenate([[0.0, -difference], np.full(estimators - 2, -1000 * difference)])
    found = 0
    for _ in range(600):
        found += stats.best_of_paired(means + random.normal(size=(seeds, estimators))).with_best().p[1] < 0.05
    assert found / 600 == pytest.approx(0.8, abs=0.06)


def test_power_of_one_comparison_is_that_of_students_test():
    """By the noncentral t distribution of scipy.stats, which leaves out the other tail as well."""
    difference = stats.visible_difference(1.5, 7, 1)
    bound, noncentral = scipy_stats.t.ppf(0.975, 6), difference / 1.5 * 7**0.5
    assert scipy_stats.nct.sf(bound, 6, noncentral) == pytest.approx(0.8)
    assert stats.visible_difference(1.0, 1, 1) == np.inf


def test_the_seeds_needed_are_the_fewest_that_see_a_difference():
    """One fewer would not; beyond 1,000 no number is given."""
    n = stats.seeds_to_see(0.7, 1.0, 13)
    assert stats.visible_difference(1.0, n, 13) <= 0.7 < stats.visible_difference(1.0, n - 1, 13)
    assert stats.seeds_to_see(1e-3, 1.0, 13) is None


def test_the_pooled_deviation_is_that_of_all_pairs():
    """A root mean square over the pairs, each over the seeds that both have."""
    runs = drawn(0, 5, 4)
    pairs = [runs[:, a] - runs[:, b] for a in range(4) for b in range(a)]
    expected = np.sqrt(np.mean([np.var(gap[~np.isnan(gap)], ddof=1) for gap in pairs]))
    assert stats.pooled_deviation(runs) == pytest.approx(expected)
    assert np.isnan(stats.pooled_deviation(runs[:1]))
