import numpy as np
import pytest
from scipy import stats as scipy_stats

from estbench.stats import (
    Centre,
    SquaredNorm,
    combined,
    compare_pair,
    holm,
    improvement,
    interquartile_mean,
    jackknife,
    least_p,
    mean_interval,
    median_interval,
    normal_error,
    normal_margin,
    paired_all,
    product,
    profile,
    seeds_needed,
    sign_flip,
    student_paired,
    trimmed_mean,
    welch,
    zero_mean,
)


def test_mean_interval_agrees_with_scipy():
    """The interval of a mean is Student's."""
    sample = np.random.default_rng(0).normal(size=20)
    expected = scipy_stats.ttest_1samp(sample, 0).confidence_interval(0.95)
    assert mean_interval(sample)[1:] == pytest.approx(tuple(expected))


def test_one_value_has_no_interval():
    """A single value is its own mean and says nothing of its spread."""
    value, low, high = mean_interval(np.array([3.0]))
    assert value == 3
    assert np.isnan([low, high]).all()


@pytest.mark.parametrize("n", [6, 7, 12, 20, 41])
def test_median_interval_lies_between_the_ranks_on_either_side_of_its_level(n):
    """It begins between the last rank that by the binomial law covers 95 % or more and the next, which covers less."""
    _, low, high = median_interval(np.arange(n, dtype=float))
    missed = [2 * scipy_stats.binom.cdf(rank, n, 0.5) for rank in (int(low), int(low) + 1)]
    assert high == pytest.approx(n - 1 - low)
    assert missed[0] <= 0.05 < missed[1]


def test_five_values_have_no_interval_for_their_median():
    """Their whole range holds the median with 94 % only."""
    value, low, high = median_interval(np.arange(5.0))
    assert value == 2
    assert np.isnan([low, high]).all()


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


@pytest.mark.parametrize("dimensions", [1, 3, 50])
def test_the_test_of_a_zero_mean_is_a_sign_flip_test(dimensions):
    """Of 32 batches, p-values between 1 and 20 % are within half a point of the share of 50,000 drawn sign patterns."""
    random = np.random.default_rng(5)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (50_000, 32))
    compared = 0
    for _ in range(20):
        e = random.normal(0.25 / dimensions**0.25, 1.0, (32, dimensions)) * np.logspace(0, -1, dimensions)
        gram = e @ e.T
        apart = gram - np.diag(np.diag(gram))
        share = np.mean(((signs @ apart) * signs).sum(1) >= apart.sum() - 1e-9)
        if 0.01 <= share <= 0.2:
            assert zero_mean(gram) == pytest.approx(share, rel=0, abs=0.005)
            compared += 1
    assert compared >= 5


def test_the_test_of_a_zero_mean_sees_one_that_is_not():
    """A mean of one standard deviation in 32 batches has a p-value below 1e-6."""
    e = np.random.default_rng(4).normal(1.0, 1.0, size=(32, 5))
    assert SquaredNorm.of(e @ e.T).p < 1e-6


def test_holm_is_the_textbook_adjustment():
    """Adjusted p-values are those of the step-down procedure, and those that are missing count for nothing."""
    assert holm([0.01, 0.04, 0.03, float("nan")]) == pytest.approx([0.03, 0.06, 0.06, float("nan")], nan_ok=True)
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_paired_test_is_students():
    """Against scipy; and with the edge cases that scipy leaves open."""
    difference = np.array([0.3, 0.1, 0.4, -0.1])
    assert student_paired(difference) == pytest.approx(scipy_stats.ttest_1samp(difference, 0).pvalue)
    assert student_paired(np.zeros(3)) == 1
    assert student_paired(np.ones(3)) == 0
    assert np.isnan(student_paired(np.ones(1)))


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_welchs_test_of_trimmed_means_is_scipys(share):
    """Of samples of different sizes and spreads, with an outlier, it has scipy's p-value (Yuen's, where it trims)."""
    generator = np.random.default_rng(0)
    one, other = generator.normal(0, 1, 10), np.append(generator.normal(1, 2, 16), 30.0)
    expected = scipy_stats.ttest_ind(one, other, equal_var=False, trim=share).pvalue
    assert welch(trimmed_mean(one, share), trimmed_mean(other, share)) == pytest.approx(expected)


def test_welchs_test_of_known_errors_is_normal():
    """Where both errors are known, the difference over its error is normal; the error is that of the interval."""
    one = Centre(1.0, float(normal_error(0.0, 2 * normal_margin(0.3))), np.inf)
    assert one.error == pytest.approx(0.3)
    expected = 2 * scipy_stats.norm.sf(1.0 / 0.5)
    assert welch(one, Centre(2.0, 0.4, np.inf)) == pytest.approx(expected)


def test_the_sign_flip_test_is_scipys_permutation_test():
    """Exactly for few pairs; of more, drawn patterns give scipy's p-value to a tenth of it, and the same each time."""
    few = np.array([0.3, 0.1, 0.4, -0.1, 0.2, 0.7])
    expected = scipy_stats.permutation_test((few,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert sign_flip(few) == pytest.approx(expected)
    many = np.random.default_rng(0).normal(0.4, 1, 18)
    draws = scipy_stats.permutation_test((many,), np.mean, permutation_type="samples", n_resamples=2**18)
    assert sign_flip(many) == pytest.approx(draws.pvalue, rel=0.1)
    assert sign_flip(many) == sign_flip(many)


def test_the_smallest_p_of_n_seeds_is_that_of_equal_signs():
    """It is two patterns of all, so that six seeds are the fewest that tell two estimators apart at 5 %."""
    for n in (3, 5, 6, 10):
        assert sign_flip(np.arange(1.0, n + 1)) == least_p(n) == 2 / 2**n
    assert seeds_needed(1) == 6
    assert least_p(seeds_needed(10)) * 10 < 0.05 <= least_p(seeds_needed(10) - 1) * 10


def test_trainings_are_compared_by_sign_flips_where_seeds_suffice():
    """Six seeds of two estimators are tested without assumptions, five by Student's test; all pairs are corrected."""
    runs = np.random.default_rng(0).normal([0.0, 9.0], size=(6, 2))
    assert paired_all(runs).exact
    assert paired_all(runs).p[0, 1] == sign_flip(runs[:, 0] - runs[:, 1])
    assert not paired_all(runs[:5]).exact
    three = np.column_stack([runs, runs[:, 0] + 1])[:5]
    pairs = [(0, 1), (0, 2), (1, 2)]
    p = holm([student_paired(three[:, a] - three[:, b]) for a, b in pairs])
    assert [paired_all(three).p[pair] for pair in pairs] == p


def test_a_seed_that_one_estimator_lacks_is_left_out_of_its_pairs_only():
    """The others are compared over all seeds, and who has one seed in common with nobody is not tested."""
    runs = np.random.default_rng(0).normal(size=(5, 4))
    runs[0, 1] = np.nan
    runs[1:, 3] = np.nan
    found = paired_all(runs)
    assert (found.seeds, found.tests) == (4, 3)
    assert np.isnan(found.p[3]).all()


def test_a_real_difference_is_found():
    """Intervals far apart give a small p, exact values that differ give 0, and no interval gives no test."""
    assert compare_pair((1, 0.9, 1.1), (2, 1.9, 2.1)) < 1e-6
    assert compare_pair((1, 1, 1), (2, 2, 2)) == 0
    assert compare_pair((1, 1, 1), (1, 1, 1)) == 1
    assert np.isnan(compare_pair((1, np.nan, np.nan), (2, np.nan, np.nan)))


def test_fishers_method_is_scipys():
    """For p-values of several seeds."""
    p = np.array([0.2, 0.01, 0.7])
    assert combined(p) == pytest.approx(scipy_stats.combine_pvalues(p).pvalue)


def test_a_product_with_nothing_is_nothing():
    """No variance is no work, without doubt; a lower bound of 0 stays one."""
    assert product((0.0, 0.0, 0.0), (2.0, 1.0, 3.0)) == (0, 0, 0)
    value, low, high = product((1.0, 0.0, 2.0), (2.0, 2.0, 2.0))
    assert (value, low, high) == (2, 0, pytest.approx(4))


def test_figures_over_tasks_are_those_of_their_definitions():
    """Agarwal et al.: the trimmed mean of all runs, the Mann-Whitney statistic averaged over tasks, shares of runs."""
    random = np.random.default_rng(0)
    one, other = random.normal(0.5, 1, (3, 6)), random.normal(size=(3, 7))
    assert interquartile_mean(one).value == pytest.approx(scipy_stats.trim_mean(one, 0.25, axis=None))
    u = [scipy_stats.mannwhitneyu(a, b).statistic / 42 for a, b in zip(one, other, strict=True)]
    assert improvement(one, other).value == pytest.approx(np.mean(u))
    assert improvement(one, one).value == 0.5
    assert profile(one, np.array([-9.0, 0.5, 9.0]))[0].tolist() == [1.0, np.mean(one > 0.5), 0.0]


def test_few_runs_have_no_intervals_over_tasks():
    """With fewer than five a task, none was found to keep its level."""
    one = np.random.default_rng(0).normal(size=(3, 4))
    assert np.isnan(interquartile_mean(one).low)
    assert np.isnan(improvement(one, one + 1).low)
    assert np.isnan(profile(one, np.zeros(1))[1]).all()
