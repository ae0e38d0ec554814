"""Measures how often intervals hold the truth and tests raise false alarms, over simulated measurements.

python scripts/calibration                      # 10,000 simulations a setting, as tables in Markdown
python scripts/calibration --simulations 1000   # sooner
"""

# ruff: noqa: INP001, T201  (a script that prints what it measured)

import argparse
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from numpy.random import Generator
from scipy import special
from simulated import BATCHES, Kind, each, entries_text, holds, median_of_times, metrics, times, uneven

from estbench import stats
from estbench.report.model.intervals import averaged, root_mean_square
from estbench.stats import Floats, GradientMetrics, Interval

LAWS: dict[str, Callable[[Generator, int], Floats]] = {
    "normal": lambda r, n: r.normal(size=n),
    "Laplace": lambda r, n: r.laplace(size=n),
    "uniform": lambda r, n: r.uniform(-1, 1, n),
}


def means() -> Iterator[Kind]:
    """Means over seeds and medians over blocks."""
    for seeds in (3, 5, 10):
        yield Kind(
            "mean over seeds, difference of two", f"{seeds} seeds, normal",
            each(lambda random, n=seeds: holds(stats.mean_interval(random.normal(size=n)), 0.0)),
        )  # fmt: skip
    slow = median_of_times()
    for blocks in (6, 10, 20):
        yield Kind(
            "median", f"times of {blocks} blocks, a tenth of them slow",
            each(lambda random, n=blocks: holds(stats.median_interval(times(random, n)), slow)),
        )  # fmt: skip
    yield Kind(
        "ratio of times, block by block", "20 blocks",
        each(lambda r: holds(stats.median_interval(times(r) / times(r)), 1.0)),
    )  # fmt: skip


def gradients() -> Iterator[Kind]:
    """Values of gradients."""
    for per_batch, entries in ((2, 5), (32, 1), (32, 20)):
        yield Kind(
            "variance", f"{32 * per_batch:,} normal estimates, {entries_text(entries)}",
            each(lambda r, n=per_batch, d=entries: holds(metrics(r, entries=d, per_batch=n).variance(), d)),
        )  # fmt: skip
    yield Kind("variance", "1,024 exponential estimates, 1 entry", each(_exponential), simulations=4000)
    for bias, entries, reference in ((0.0, 1, 0.0), (0.0, 20, 0.1), (0.05, 20, 0.1), (0.3, 20, 0.1), (0.3, 1, 0.0)):
        where = f"true relative bias {bias:g}, {entries_text(entries)}" + (", estimated reference" if reference else "")
        # an angle's chord
        length = 2 * np.sin(bias / 2) if entries > 1 else bias
        make = {"bias": bias, "entries": entries, "reference": reference, "snr": 0.5}
        square = (length * 0.5) ** 2 * entries
        yield Kind("squared bias", where, each(lambda r, m=make, t=square: holds(metrics(r, **m).squared_bias(), t)))
        yield Kind("relative bias", where,
                   each(lambda r, m=make, t=length: holds(metrics(r, **m).relative_bias(), t)),
                   simulations=1000 if bias else 4000)  # fmt: skip
        if bias == 0.3:
            yield Kind("mean squared error", where,
                       each(lambda r, m=make, t=entries + square: holds(metrics(r, **m).mse(), t)))  # fmt: skip
    for snr in (0.05, 0.2, 1.0):
        yield Kind(
            "signal to noise",
            f"{snr:g}, 20 entries",
            each(lambda r, s=snr: holds(metrics(r, snr=s).snr(), s)),
        )
    for angle in (0.0, 0.3, 1.0, 1.5):
        yield Kind("cosine", f"{np.cos(angle):.2f}, 20 entries, estimated reference",
                   each(lambda r, a=angle: holds(metrics(r, a, reference=0.1, snr=0.5).cosine(), np.cos(a) - 1e-12)),
                   simulations=4000 if angle < 1 else 1000)  # fmt: skip


def _exponential(random: Generator) -> bool:
    return holds(_of(random.exponential(size=(BATCHES, 32))).variance(), 1.0)


def _of(estimates: Floats) -> GradientMetrics:
    """Values of estimates ``(batches, per_batch)`` with one entry, without a reference."""
    means = estimates.mean(1, keepdims=True)
    return GradientMetrics(estimates.var(1, ddof=1), 1, estimates.shape[1], means @ means.T)


def combinations() -> Iterator[Kind]:
    """What is computed from several values."""

    def two(random: Generator) -> bool:
        one, other = (metrics(random, entries=5).variance() for _ in range(2))
        return holds(stats.ratio(one, other), 1.0)

    def work(random: Generator) -> bool:
        seconds = stats.median_interval(np.exp(0.1 * random.normal(size=20)))
        return holds(Interval(*map(float, stats.product(metrics(random, entries=5).variance(), seconds))), 5.0)

    yield Kind("ratio of variances", "1,024 estimates each, 5 entries", each(two))
    yield Kind("work-normalised variance", "1,024 estimates, 5 entries; 20 blocks", each(work))
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
                   each(lambda r, m=levels, s=(tasks, seeds), t=middle:
                         holds(stats.interquartile_mean(m + r.normal(size=s)), t)))  # fmt: skip
        for chance in (0.5, 0.75, 0.9):
            shift = 2**0.5 * float(special.ndtri(chance))
            yield Kind("probability of improvement", f"{chance:g}; {where}",
                       each(lambda r, d=shift, s=(tasks, seeds), t=chance:
                             holds(stats.improvement(d + r.normal(size=s), r.normal(size=s)), t)),
                       simulations=4000)  # fmt: skip
    yield Kind("performance profile", "any share from 0.1 to 0.9; 3 tasks, 10 seeds", each(_profile))


def _profile(random: Generator) -> bool:
    shares = random.uniform(0.1, 0.9, 1)
    found = stats.profile(random.random((3, 10)), 1 - shares)
    return holds(Interval(*(float(x[0]) for x in found)), float(shares[0]))


def false_alarms() -> Iterator[Kind]:
    """Tests of what is so, at 5 %."""
    for entries, reference in ((1, 0.0), (20, 0.1), (200, 0.1)):
        yield Kind("bias test", f"unbiased, {entries_text(entries)}" + (", estimated reference" if reference else ""),
                   each(lambda r, d=entries, n=reference: metrics(r, entries=d, reference=n).unbiased_p() < 0.05),
                   0.03, 0.07)  # fmt: skip
    for name, level, low, high, simulations in (
        ("bias test", 0.05, 0.03, 0.07, 1000),
        ("bias test, at 1 %", 0.01, 0.005, 0.015, 4000),
        ("bias test, at 0.1 %", 0.001, 0.0, 0.003, 4000),
    ):
        yield Kind(name, "unbiased, 5 of 205 directions with half the noise, unlike batches, estimated reference",
                   each(lambda r, at=level: uneven(r).unbiased_p() < at), low, high, simulations)  # fmt: skip
    for seeds, law in ((3, "normal"), (5, "normal"), (10, "normal"), (5, "Laplace"), (5, "uniform")):
        high = 0.07 if law != "uniform" else 0.08
        yield Kind("Student's paired test", f"{seeds} seeds, {law} differences",
                   each(lambda r, n=seeds, d=LAWS[law]: stats.student_paired(d(r, n)) < 0.05),
                   0.02, high)  # fmt: skip
    for seeds, law in ((6, "normal"), (8, "uniform"), (10, "Laplace")):
        yield Kind("sign-flip test", f"{seeds} seeds, {law} differences",
                   each(lambda r, n=seeds, d=LAWS[law]: stats.sign_flip(d(r, n)) < 0.05),
                   0.015, 0.065, 4000)  # fmt: skip
    yield Kind("equal variances", "two estimators of 1,024 estimates, 5 entries", each(_equal_variances), 0.03, 0.07)
    yield Kind("equal times", "two of 20 blocks", each(_equal_times), 0.03, 0.07)
    for estimators, seeds in ((5, 3), (10, 10)):
        yield Kind("best told from any other", f"{estimators} equal estimators, {seeds} seeds",
                   each(lambda r, s=(seeds, estimators): _told_apart(r, s)), 0.0, 0.065)  # fmt: skip


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
                   each(lambda r, n=per_batch: holds(_heavy(r, n), (np.e - 1) * np.e)))  # fmt: skip
    for tasks in (3, 8):
        levels = 5.0 * np.arange(tasks)[:, None]
        # the mean of the middle half of all tasks' runs together
        middle = np.sort((levels + np.random.default_rng(0).exponential(size=(tasks, 10**6))).ravel())
        truth = float(middle[len(middle) // 4 : -(len(middle) // 4)].mean())
        yield Kind("interquartile mean", f"{tasks} tasks far apart, 5 seeds, exponential",
                   each(lambda r, m=levels, n=tasks, t=truth:
                         holds(stats.interquartile_mean(m + r.exponential(size=(n, 5))), t)))  # fmt: skip
    yield Kind("best not told from another, corrected for tests with it alone", "10 equal estimators, 10 seeds",
               each(lambda r: not _told_from_best(r, (10, 10))))  # fmt: skip


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
