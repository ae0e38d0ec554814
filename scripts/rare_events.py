"""Measures how often the values of estimators on a rare event are correct, or reported as unresolved.

The program has one bit with a given logit, with the cost and the true values of ``tests/support/rare_event.py``. A
measurement has 1,024 replicates. All measurements of an estimator are drawn together, by the functions of the measure;
tests/engine/moments/test_rare_events.py checks that they equal the rows of the measure.

python scripts/rare_events.py                        # 1,000 measurements a setting, as a table in Markdown
python scripts/rare_events.py --measurements 300 --out rows.md   # again after a stop: only what the file lacks
"""

# ruff: noqa: INP001, T201  (a script that prints what it measured)

import argparse
import functools
import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.func import vmap

sys.path.insert(0, str(Path(__file__).parents[1]))

from estbench import load_estimator
from estbench.engine.base import Bench, Row
from estbench.engine.moments.judged import Judged
from estbench.engine.moments.moments import BATCHES, Moments, Sums
from estbench.engine.moments.points import Point
from estbench.engine.moments.reference import Drawing, Reference
from estbench.engine.moments.resolution import DEPARTURES
from estbench.engine.moments.stopping import Replication
from estbench.engine.moments.variables import Logits
from tests.support.rare_event import RareEvent

REPLICATES = 1024
LOGITS = (0.8, 2.0, 3.0, 4.0, 6.0, 8.0)
TEMPERATURES = (0.1, 0.5, 1.0, 5.0)
PLAIN = (
    "reinforce", "rloo", "vargrad", "arm", "disarm", "arms", "muprop", "stochastic_ad",
    "straight_through", "reinmax", "local_expectation", "finite_differences", "augmented_reinforce", "spsa",
)  # fmt: skip
RELAXED = ("gumbel_softmax", "st_gumbel_softmax", "gumbel_rao", "rebar")
CHUNK = 2**14


@dataclass(frozen=True)
class Share:
    """The results of the measurements of an estimator, as shares.

    Args:
        resolved: the share of measurements with a value.
        variance: among these, the share whose interval of the variance contained the true one.
        bias: likewise for the squared bias.
        missed: among all measurements, the share with an interval of the variance that did not contain the true one.
        alarms: among all measurements, the share in which an unbiased estimator was called biased.
    """

    resolved: float
    variance: float
    bias: float
    missed: float
    alarms: float


def bench(logit: float, seed: int = 0) -> Bench:
    """Where an estimator is measured."""
    oracle = functools.partial(load_estimator, "exact")
    return Bench(
        RareEvent(logit), seed, torch.device("cpu"), torch.float32, functools.partial(load_estimator, "rloo"),
        lambda samples: oracle(samples=samples),
    )  # fmt: skip


def judged(where: Bench, name: str) -> Judged:
    """An estimator at the initial parameters, as the measure judges it."""
    model = where.model()
    point = Point(0, model, next(where.minibatches()))
    estimator = load_estimator(name).prepare(point.program())
    drawing, variables = Drawing(Replication(REPLICATES), 0), Logits(point)
    again = functools.cache(functools.partial(drawing.again, where, variables, estimator, ("estimate",)))
    return Judged(where, variables, estimator, Reference(drawing), again)


def draws(one: Judged, count: int, seed: int) -> Tensor:
    """Gradients of so many replicates."""
    one.estimator.eval()
    with torch.no_grad():
        gradient = one.variables.gradient(one.estimator, one.variables.point.program)
        many = vmap(lambda _: gradient()["logits"], randomness="different")
        torch.manual_seed(seed)
        return torch.cat([many(torch.empty(min(CHUNK, count - begin))) for begin in range(0, count, CHUNK)])


def moments(replicates: Tensor) -> Moments:
    """Of one measurement's replicates ``(n, 1)``."""
    sums = Sums.of(replicates.reshape(-1, BATCHES, 1))
    return Moments(len(replicates), sums.mean, sums.spread / (sums.count - 1), sums.eps)


def _never_resolved(one: Judged) -> bool:
    """Whether rare values are too rare for any measurement of the estimator, whatever is drawn."""
    few = one.chances.discrete and REPLICATES * one.chances.departures["logits"] < DEPARTURES
    return few and not any(row.status == "ok" for row in _rows(one, draws(one, REPLICATES, 1)).values())


def _rows(one: Judged, replicates: Tensor) -> dict[str, Row]:
    """The rows of one measurement, by metric."""
    truth = Moments.exact(torch.tensor([one.bench.task.gradient], dtype=torch.float64))
    true = replace(truth, eps=torch.finfo(torch.float32).eps)
    return {row.metric: row for row in one.rows("logits", moments(replicates), true)}


def share(name: str, logit: float, measurements: int) -> Share:
    """Over so many measurements; the true variance and bias are those of four times as many replicates at least."""
    one = judged(bench(logit), name)
    if _never_resolved(one):
        return Share(0.0, float("nan"), float("nan"), 0.0, 0.0 if one.estimator.unbiased else float("nan"))
    count = measurements * REPLICATES
    found = draws(one, max(4 * count, 2**21), 1)
    variance = float(found.double().var())
    bias = 0.0 if one.estimator.unbiased else float(found.double().mean()) - one.bench.task.gradient
    # other replicates decide whether a measurement has enough
    others = itertools.cycle(found[count : 2 * count].split(REPLICATES))
    one = replace(one, again=lambda _: {"logits": moments(next(others))})
    rows = [_rows(one, each) for each in found[:count].split(REPLICATES)]
    alarms = [_alarm(own) for own in rows] if one.estimator.unbiased else []
    resolved = float(np.mean([own["variance/logits"].status == "ok" for own in rows]))
    # of an estimator that is exact but for rounding, the variance is made of that
    held = _holds([own["variance/logits"] for own in rows], variance if variance > 1e-12 else 0.0)
    return Share(
        resolved,
        held,
        _holds([own["squared_bias/logits"] for own in rows], bias**2),
        resolved * (1 - held) if resolved else 0.0,
        float(np.mean(alarms)) if alarms else float("nan"),
    )


def _alarm(rows: dict[str, Row]) -> bool:
    return "unbiased_p/logits" in rows and rows["unbiased_p/logits"].value < 0.05


def _holds(rows: Sequence[Row], truth: float) -> float:
    told = [row for row in rows if row.status == "ok"]
    held = [row.low <= truth <= row.high for row in told]
    return float(np.mean(held)) if held else float("nan")


def settings() -> Iterator[tuple[str, float]]:
    """Estimators and logits."""
    relaxed = [f"{name}[temperature={temperature}]" for name in RELAXED for temperature in TEMPERATURES]
    for name in (*PLAIN, *relaxed):
        for logit in LOGITS:
            yield name, logit


def _percent(value: float) -> str:
    return "–" if np.isnan(value) else f"{100 * value:.1f} %"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measurements", type=int, default=1000)
    parser.add_argument("--estimators", default="", help="only these, by name without parameters: arm,rebar")
    parser.add_argument("--logits", type=float, nargs="+", default=LOGITS, help="only these")
    parser.add_argument("--out", type=Path, help="a file that receives the rows, and whose rows are not made again")
    arguments = parser.parse_args()
    names = arguments.estimators.split(",") if arguments.estimators else [*PLAIN, *RELAXED]
    earlier = arguments.out.read_text() if arguments.out and arguments.out.exists() else ""
    print(
        "| estimator | logit | resolved | variance | squared bias | variance missed, of all | called biased, of all |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, logit in settings():
        begin = f"| `{name}` | {logit:g} |"
        if name.split("[")[0] not in names or logit not in arguments.logits or begin in earlier:
            continue
        found = share(name, logit, arguments.measurements)
        cells = map(_percent, (found.resolved, found.variance, found.bias, found.missed, found.alarms))
        row = f"{begin} {' | '.join(cells)} |"
        print(row, flush=True)
        if arguments.out:
            with arguments.out.open("a") as file:
                file.write(f"{row}\n")


if __name__ == "__main__":
    main()
