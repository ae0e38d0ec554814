"""Intervals and tests. Intervals have a level of 95 % unless ``level`` says otherwise.

docs/explanation/statistics.md describes every method, its source and its simulated coverage.
"""

from estbench.stats.across import Scores, improvement, interquartile_mean, normalised, profile
from estbench.stats.best import Pairs, WithBest, best_of_independent, best_of_paired, dunnett_p, dunnett_quantile
from estbench.stats.gradients import GradientMetrics, SquaredNorm, contributing, log_mean, variance_interval
from estbench.stats.intervals import (
    LEVEL,
    Floats,
    Interval,
    jackknife,
    jackknifed,
    left_out,
    mean_interval,
    mean_margin,
    median_interval,
    normal_error,
    normal_margin,
    product,
    ratio,
)
from estbench.stats.power import POWER, pooled_deviation, seeds_to_see, visible_difference
from estbench.stats.significance import (
    SIGNIFICANCE,
    PairedTests,
    combined,
    compare_pair,
    holm,
    least_p,
    paired_all,
    seeds_needed,
    sign_flip,
    student_paired,
    zero_mean,
)
from estbench.stats.welch import Centre, trimmed_mean, welch

__all__ = [
    "LEVEL",
    "POWER",
    "SIGNIFICANCE",
    "Centre",
    "Floats",
    "GradientMetrics",
    "Interval",
    "PairedTests",
    "Pairs",
    "Scores",
    "SquaredNorm",
    "WithBest",
    "best_of_independent",
    "best_of_paired",
    "combined",
    "compare_pair",
    "contributing",
    "dunnett_p",
    "dunnett_quantile",
    "holm",
    "improvement",
    "interquartile_mean",
    "jackknife",
    "jackknifed",
    "least_p",
    "left_out",
    "log_mean",
    "mean_interval",
    "mean_margin",
    "median_interval",
    "normal_error",
    "normal_margin",
    "normalised",
    "paired_all",
    "pooled_deviation",
    "product",
    "profile",
    "ratio",
    "seeds_needed",
    "seeds_to_see",
    "sign_flip",
    "student_paired",
    "trimmed_mean",
    "variance_interval",
    "visible_difference",
    "welch",
    "zero_mean",
]
