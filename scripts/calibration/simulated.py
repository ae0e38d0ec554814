"""What the calibration simulates: gradient estimates and times with a known truth."""

# ruff: noqa: INP001  (part of a script)

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from scipy import special

from estbench.stats import Floats, GradientMetrics, Interval

BATCHES = 32


class Kind(NamedTuple):
    """A kind of interval, or of test, in a setting.

    Args:
        name: which interval or test.
        setting: of what.
        simulate: whether the interval held the truth, or the test raised an alarm, in each of so many simulations.
        low: the least share that is right.
        high: the most.
        simulations: enough to tell.
    """

    name: str
    setting: str
    simulate: Callable[[Generator, int], Floats]
    low: float = 0.93
    high: float = 0.97
    simulations: int = 1000


def each(one: Callable[[Generator], bool]) -> Callable[[Generator, int], Floats]:
    """A simulation, many times."""
    return lambda random, count: np.array([one(random) for _ in range(count)], dtype=float)


def holds(interval: Interval, truth: float) -> bool:
    """Whether an interval holds the truth."""
    return interval.low <= truth <= interval.high


def metrics(
    random: Generator,
    bias: float = 0.0,
    entries: int = 20,
    per_batch: int = 32,
    reference: float = 0.0,
    snr: float = 1.0,
) -> GradientMetrics:
    """Gradient estimates of variance 1 an entry, with a true gradient of length ``snr * entries ** 0.5``.

    Args:
        random: numbers.
        bias: angle between mean and truth, of one length; with one entry, the difference over the length.
        entries: of the gradient.
        per_batch: estimates behind each batch.
        reference: standard error of an entry of each batch of the reference; 0 where it is exact.
        snr: signal-to-noise ratio.
    """
    truth = np.zeros(entries)
    truth[0] = snr * entries**0.5
    mean = truth * (1 + bias)
    if entries > 1:
        mean = np.append([truth[0] * np.cos(bias), truth[0] * np.sin(bias)], truth[2:])
    own = mean + random.normal(size=(BATCHES, entries)) / per_batch**0.5
    other = truth + reference * random.normal(size=(BATCHES, entries))
    traces = random.chisquare((per_batch - 1) * entries, BATCHES) / (per_batch - 1)
    return GradientMetrics(
        traces, entries, per_batch, own @ own.T, own @ other.T, other @ other.T, (own - other) @ (own - other).T
    )


def uneven(random: Generator) -> GradientMetrics:
    """Without bias; five of 205 directions hold half the noise, and batches are unlike.

    The reference has four times the replicates, and each batch a variance of its own, log-normal (σ = 1).
    """
    scale = np.sqrt([0.1] * 5 + [0.5 / 200] * 200)
    sizes = np.exp(0.5 * random.normal(size=(2, BATCHES, 1)))
    own, other = sizes * random.normal(size=(2, BATCHES, 205)) * scale
    error = own - other / 2
    return GradientMetrics(np.ones(BATCHES), 205, 32, own @ own.T, error=error @ error.T)


def times(random: Generator, blocks: int = 20) -> Floats:
    """Seconds of blocks, some of them much slower."""
    return np.exp(0.05 * random.normal(size=blocks)) * np.where(random.random(blocks) < 0.1, 1.5, 1.0)


def median_of_times() -> float:
    """Of what ``times`` draws."""
    grid = np.linspace(-0.1, 0.2, 300_001)
    below = 0.9 * special.ndtr(grid / 0.05) + 0.1 * special.ndtr((grid - np.log(1.5)) / 0.05)
    return float(np.exp(grid[np.searchsorted(below, 0.5)]))


def entries_text(count: int) -> str:
    """How many entries a gradient has, in words."""
    return f"{count} entries" if count > 1 else "1 entry"
