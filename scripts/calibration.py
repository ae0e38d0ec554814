"""Measures how often intervals hold the truth and tests raise false alarms, over simulated measurements.

python scripts/calibration.py                      # 10,000 simulations a setting, as tables in Markdown
python scripts/calibration.py --simulations 1000   # sooner
"""

# ruff: noqa: INP001, T201  (a script that prints what it measured)

import argparse
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.random import Generator
from scipy import special

from estbench import stats
from estbench.report.model.intervals import averaged, root_mean_square
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


def _each(one: Callable[[Generator], bool]) -> Callable[[Generator, int], Floats]:
    return lambda random, count: np.array([one(random) for _ in range(count)], dtype=float)


def _holds(interval: Interval, truth: float) -> bool:
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


def _uneven(random: Generator) -> GradientMetrics:
    """Without bias; five of 205 directions hold half the noise, and batches are unlike.

    The reference has four times the replicates, and each batch a variance of its own, log-normal (σ = 1).
    """
    scale = np.sqrt([0.1] * 5 + [0.5 / 200] * 200)
    sizes = np.exp(0.5 * random.normal(size=(2, BATCHES, 1)))
    own, other = sizes * random.normal(size=(2, BATCHES, 205)) * scale
    error = own - other / 2
    return GradientMetrics(np.ones(BATCHES), 205, 32, own @ own.T, error=error @ error.T)


def _times(random: Generator, blocks: int = 20) -> Floats:
    """Seconds of blocks, some of them much slower."""
    return np.exp(0.05 * random.normal(size=blocks)) * np.where(random.random(blocks) < 0.1, 1.5, 1.0)


def _median_of_times() -> float:
    """Of what ``_times`` draws."""
    grid = np.linspace(-0.1, 0.2, 300_001)
    below = 0.9 * special.ndtr(grid / 0.05) + 0.1 * special.ndtr((grid - np.log(1.5)) / 0.05)
    return float(np.exp(grid[np.searchsorted(below, 0.5)]))


def _entries(count: int) -> str:
    return f"{count} entries" if count > 1 else "1 entry"


def means() -> Iterator[Kind]:
    """Means over seeds and medians over blocks."""
    for seeds in (3, 5, 10):
        yield Kind(
            "mean over seeds, difference of two", f"{seeds} seeds, normal",
            _each(lambda random, n=seeds: _holds(stats.mean_interval(random.normal(size=n)), 0.0)),
        )  # fmt: skip
    slow = _median_of_times()
    for blocks in (6, 10, 20):
        yield Kind(
            "median", f"times of {blocks} blocks, a tenth of them slow",
            _each(lambda random, n=blocks: _holds(stats.median_interval(_times(random, n)), slow)),
        )  # fmt: skip
    yield Kind(
        "ratio of times, block by block", "20 blocks",
        _each(lambda r: _holds(stats.median_interval(_times(r) / _times(r)), 1.0)),
    )  # fmt: skip


def gradients() -> Iterator[Kind]:
    """Values of gradients."""
    for per_batch, entries in ((2, 5), (32, 1), (32, 20)):
        yield Kind(
            "variance", f"{32 * per_batch:,} normal estimates, {_entries(entries)}",
            _each(lambda r, n=per_batch, d=entries: _holds(metrics(r, entries=d, per_batch=n).variance(), d)),
        )  # fmt: skip
    yield Kind("variance", "1,024 exponential estimates, 1 entry", _each(_exponential), simulations=4000)
    for bias, entries, reference in ((0.0, 1, 0.0), (0.0, 20, 0.1), (0.05, 20, 0.1), (0.3, 20, 0.1), (0.3, 1, 0.0)):
        where = f"true relative bias {bias:g}, {_entries(entries)}" + (", estimated reference" if reference else "")
        # an angle's chord
        length = 2 * np.sin(bias / 2) if entries > 1 else bias
        make = {"bias": bias, "entries": entries, "reference": reference, "snr": 0.5}
        square = (length * 0.5) ** 2 * entries
        yield Kind("squared bias", where, _each(lambda r, m=make, t=square: _holds(metrics(r, **m).squared_bias(), t)))
        yield Kind("relative bias", where,
                   _each(lambda r, m=make, t=length: _holds(metrics(r, **m).relative_bias(), t)),
                   simulations=1000 if bias else 4000)  # fmt: skip
        if bias == 0.3:
            yield Kind("mean squared error", where,
                       _each(lambda r, m=make, t=entries + square: _holds(metrics(r, **m).mse(), t)))  # fmt: skip
    for snr in (0.05, 0.2, 1.0):
        yield Kind(
            "signal to noise",
            f"{snr:g}, 20 entries",
            _each(lambda r, s=snr: _holds(metrics(r, snr=s).snr(), s)),
        )
    for angle in (0.0, 0.3, 1.0, 1.5):
        yield Kind("cosine", f"{np.cos(angle):.2f}, 20 entries, estimated reference",
                   _each(lambda r, a=angle: _holds(metrics(r, a, reference=0.1, snr=0.5).cosine(), np.cos(a) - 1e-12)),
                   simulations=4000 if angle < 1 else 1000)  # fmt: skip


def _exponential(random: Generator) -> bool:
    return _holds(_of(random.exponential(size=(BATCHES, 32))).variance(), 1.0)


def _of(estimates: Floats) -> GradientMetrics:
    """Values of estimates ``(batches, per_batch)`` with one entry, without a reference."""
    means = estimates.mean(1, keepdims=True)
    return GradientMetrics(estimates.var(1, ddof=1), 1, estimates.shape[1], means @ means.T)


def combinations() -> Iterator[Kind]:
    """What is computed from several values."""

    def two(random: Generator) -> bool:
        one, other = (metrics(random, entries=5).variance() for _ in range(2))
        return _holds(stats.ratio(one, other), 1.0)

    def work(random: Generator) -> bool:
        seconds = stats.median_interval(np.exp(0.1 * random.normal(size=20)))
        return _holds(Interval(*map(float, stats.product(metrics(random, entries=5).variance(), seconds))), 5.0)

    yield Kind("ratio of variances", "1,024 estimates each, 5 entries", _each(two))
    yield Kind("work-normalised variance", "1,024 estimates, 5 entries; 20 blocks", _each(work))
    yield Kind("variance, mean over seeds", "3 points", lambda r, n: _over_seeds(r, n, "variance", 20.0))
    yield Kind(
        "bias, mean over seeds", "3 points, true relative bias 0.3", lambda r, n: _over_seeds(r, n, "bias", _CHORD)
    )


_CHORD = 2 * np.sin(0.15) * 20**0.5 * 0.5


def _over_seeds(random: Generator, count: int, metric: str, truth: float) -> Floats:
    """Whether means over three seeds, as reports make them, held the truth."""
    rows = []
    for simulation in range(count):
        for seed in range(3):
            found: Interval = getattr(metrics(random, 0.3, snr=0.5), metric)()
            row = {"task": "", "label": simulation, "quantity": "", "seed": seed, "n": 1, "step": 0}
            rows.append(row | found._asdict())
    table = pd.DataFrame(rows)
    means = root_mean_square(table) if metric == "bias" else averaged(table)
    return np.asarray((means["low"] <= truth) & (truth <= means["high"]), dtype=float)


def across() -> Iterator[Kind]:
    """What sums up runs over tasks."""
    for seeds, tasks in ((5, 2), (5, 3), (10, 3)):
        where = f"{tasks} tasks, {seeds} seeds, normal"
        levels = 2.0 * np.arange(tasks)[:, None]
        middle = float(levels.mean())
        yield Kind("interquartile mean", where,
                   _each(lambda r, m=levels, s=(tasks, seeds), t=middle:
                         _holds(stats.interquartile_mean(m + r.normal(size=s)), t)))  # fmt: skip
        for chance in (0.5, 0.75, 0.9):
            shift = 2**0.5 * float(special.ndtri(chance))
            yield Kind("probability of improvement", f"{chance:g}; {where}",
                       _each(lambda r, d=shift, s=(tasks, seeds), t=chance:
                             _holds(stats.improvement(d + r.normal(size=s), r.normal(size=s)), t)),
                       simulations=4000)  # fmt: skip
    yield Kind("performance profile", "any share from 0.1 to 0.9; 3 tasks, 10 seeds", _each(_profile))


def _profile(random: Generator) -> bool:
    shares = random.uniform(0.1, 0.9, 1)
    found = stats.profile(random.random((3, 10)), 1 - shares)
    return _holds(Interval(*(float(x[0]) for x in found)), float(shares[0]))


def false_alarms() -> Iterator[Kind]:
    """Tests of what is so, at 5 %."""
    for entries, reference in ((1, 0.0), (20, 0.1), (200, 0.1)):
        yield Kind("bias test", f"unbiased, {_entries(entries)}" + (", estimated reference" if reference else ""),
                   _each(lambda r, d=entries, n=reference: metrics(r, entries=d, reference=n).unbiased_p() < 0.05),
                   0.03, 0.07)  # fmt: skip
    for name, level, low, high, simulations in (
        ("bias test", 0.05, 0.03, 0.07, 1000),
        ("bias test, at 1 %", 0.01, 0.005, 0.015, 4000),
        ("bias test, at 0.1 %", 0.001, 0.0, 0.003, 4000),
    ):
        yield Kind(name, "unbiased, 5 of 205 directions with half the noise, unlike batches, estimated reference",
                   _each(lambda r, at=level: _uneven(r).unbiased_p() < at), low, high, simulations)  # fmt: skip
    draws: dict[str, Callable[[Generator, int], Floats]] = {
        "normal": lambda r, n: r.normal(size=n),
        "Laplace": lambda r, n: r.laplace(size=n),
        "uniform": lambda r, n: r.uniform(-1, 1, n),
    }
    for seeds, law in ((3, "normal"), (5, "normal"), (10, "normal"), (5, "Laplace"), (5, "uniform")):
        high = 0.07 if law != "uniform" else 0.08
        yield Kind("Student's paired test", f"{seeds} seeds, {law} differences",
                   _each(lambda r, n=seeds, d=draws[law]: stats.student_paired(d(r, n)) < 0.05),
                   0.02, high)  # fmt: skip
    for seeds, law in ((6, "normal"), (8, "uniform"), (10, "Laplace")):
        yield Kind("sign-flip test", f"{seeds} seeds, {law} differences",
                   _each(lambda r, n=seeds, d=draws[law]: stats.sign_flip(d(r, n)) < 0.05),
                   0.015, 0.065, 4000)  # fmt: skip
    yield Kind("equal variances", "two estimators of 1,024 estimates, 5 entries", _each(_equal_variances), 0.03, 0.07)
    yield Kind("equal times", "two of 20 blocks", _each(_equal_times), 0.03, 0.07)
    for estimators, seeds in ((5, 3), (10, 10)):
        yield Kind("best told from any other", f"{estimators} equal estimators, {seeds} seeds",
                   _each(lambda r, s=(seeds, estimators): _told_apart(r, s)), 0.0, 0.065)  # fmt: skip


def _equal_variances(random: Generator) -> bool:
    one, other = (metrics(random, entries=5).variance() for _ in range(2))
    return bool(stats.compare_pair(one, other) < 0.05)


def _equal_times(random: Generator) -> bool:
    one, other = (stats.median_interval(np.exp(0.1 * random.normal(size=20))) for _ in range(2))
    return bool(stats.compare_pair(one, other) < 0.05)


def _told_apart(random: Generator, shape: tuple[int, int]) -> bool:
    runs = random.normal(size=shape) + random.normal(size=(shape[0], 1))
    return bool((stats.paired_all(runs).p[np.argmin(runs.mean(0))] < 0.05).any())


def limits() -> Iterator[Kind]:
    """Where methods, or those not taken, fail."""
    for per_batch in (32, 512):
        yield Kind("variance", f"{32 * per_batch:,} log-normal estimates (σ = 1), 1 entry",
                   _each(lambda r, n=per_batch: _holds(_heavy(r, n), (np.e - 1) * np.e)))  # fmt: skip
    for tasks in (3, 8):
        levels = 5.0 * np.arange(tasks)[:, None]
        # the mean of the middle half of all tasks' runs together
        middle = np.sort((levels + np.random.default_rng(0).exponential(size=(tasks, 10**6))).ravel())
        truth = float(middle[len(middle) // 4 : -(len(middle) // 4)].mean())
        yield Kind("interquartile mean", f"{tasks} tasks far apart, 5 seeds, exponential",
                   _each(lambda r, m=levels, n=tasks, t=truth:
                         _holds(stats.interquartile_mean(m + r.exponential(size=(n, 5))), t)))  # fmt: skip
    yield Kind("best not told from another, corrected for tests with it alone", "10 equal estimators, 10 seeds",
               _each(lambda r: not _told_from_best(r, (10, 10))))  # fmt: skip


def _heavy(random: Generator, per_batch: int) -> Interval:
    return _of(np.exp(random.normal(size=(BATCHES, per_batch)))).variance()


def _told_from_best(random: Generator, shape: tuple[int, int]) -> bool:
    runs = random.normal(size=shape)
    best = int(np.argmin(runs.mean(0)))
    others = [stats.student_paired(runs[:, i] - runs[:, best]) for i in range(shape[1]) if i != best]
    return min(stats.holm(others)) < 0.05


INTERVALS = (means, gradients, combinations, across)
TESTS = (false_alarms,)
LIMITS = (limits,)


def kinds(groups: tuple[Callable[[], Iterator[Kind]], ...]) -> list[Kind]:
    """All settings of some groups."""
    return [kind for group in groups for kind in group()]


def share(kind: Kind, simulations: int = 0) -> float:
    """How often it held, or raised an alarm; over as many simulations as tell, unless so many are asked for."""
    return float(kind.simulate(np.random.default_rng(1), simulations or kind.simulations).mean())


def main() -> None:
    """Prints three tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=10_000)
    count = parser.parse_args().simulations
    for title, groups in (
        ("interval | setting | coverage", INTERVALS),
        ("test, at 5 % if not told | setting | false alarms", TESTS),
    ):
        print(f"| {title} |\n| --- | --- | ---: |")
        for kind in kinds(groups):
            print(f"| {kind.name} | {kind.setting} | {100 * share(kind, count):.1f} % |", flush=True)
        print()


if __name__ == "__main__":
    main()
