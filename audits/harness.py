"""Holds estimators of other libraries against enumeration, on the programs of estbench's own checks.

A library's ``audit.py`` lists its estimators as ``Audited`` and calls ``main``; ``make audit LIBRARY=...`` runs it in
an environment of its own.
"""

import csv
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from estbench import NotApplicableError, load_estimator
from estbench.core.estimator import Estimator
from estbench.testing.oracle import truth
from estbench.testing.programs import RECIPES, Recipe

RESULTS = Path(__file__).parent / "results"
PROGRAMS = {recipe.name: recipe for recipe in RECIPES if recipe.name in ("bernoulli, 1 layer", "categorical, 1 layer")}
# copies of the two examples in one call, which are independent replicates, and calls
WIDTH, CALLS = 512, 100
# half-width of a 95 % interval, and a level of 1 in 10,000 for a verdict, in standard errors
INTERVAL, CERTAIN = 1.96, 3.9
FIELDS = (
    "library",
    "version",
    "estimator",
    "declared",
    "program",
    "size",
    "low",
    "high",
    "off",
    "variance",
    "time",
    "verdict",
)


@dataclass(frozen=True)
class Audited:
    """An estimator of another library.

    Args:
        name: what its library calls it, with options.
        make: makes it, by a bridge.
        declared: what the library's docs say: ``unbiased``, ``biased`` or ``not said``.
        own: estbench's estimator of the same formula; empty if there is none.
        width: copies in one call; 1 if it couples the examples of a batch.
        calls: number of calls.
    """

    name: str
    make: Callable[[], Estimator]
    declared: str
    own: str = ""
    width: int = WIDTH
    calls: int = CALLS


@dataclass(frozen=True)
class Measured:
    """Mean gradient for the logits over all calls, its standard errors, the variance of one estimate, and seconds.

    Args:
        mean: ``(entries,)``.
        error: ``(entries,)``.
        along: the part of each call's gradient along the true one, relative to that, ``(calls,)``.
        variance: trace of the covariance of one estimate.
        seconds: of one call, the median.
    """

    mean: torch.Tensor
    error: torch.Tensor
    along: torch.Tensor
    variance: float
    seconds: float


def measured(estimator: Estimator, recipe: Recipe, exact: torch.Tensor, width: int, calls: int) -> Measured:
    """Calls an estimator on many copies of a program's two examples."""
    torch.manual_seed(0)
    net = recipe.net().float()
    net.inputs = net.inputs.expand(width, *net.inputs.shape).clone()
    estimator.eval().prepare(net())
    found, seconds = [], []
    for _ in range(calls):
        net.zero_grad()
        start = time.perf_counter()
        estimator(net()).backward()
        seconds.append(time.perf_counter() - start)
        found.append(net.logits[0].grad.flatten().double())
    each = torch.stack(found)
    along = each @ exact / exact.square().sum()
    return Measured(
        each.mean(0),
        each.std(0) / math.sqrt(calls),
        along,
        float(each.var(0).sum()) * width,
        sorted(seconds)[calls // 2],
    )


def verdict(found: Measured, exact: torch.Tensor, declared: str) -> tuple[str, float]:
    """In words whether the mean gradient is the true one, and how far it is off, relative to the true one's length."""
    z = (found.mean - exact) / found.error.clamp_min(1e-9)
    along = (found.along.mean() - 1) / (found.along.std() / math.sqrt(len(found.along))).clamp_min(1e-9)
    off = float((found.mean - exact).norm() / exact.norm())
    rounding = float((found.mean - exact).abs().max()) < 1e-5 * float(exact.abs().max())
    biased = not rounding and max(float(z.abs().max()), float(along.abs())) > CERTAIN
    if not biased:
        return "mean is exact within the interval", off
    return ("biased, as declared" if declared == "biased" else "biased"), off


def rows(library: str, audited: Audited) -> list[dict[str, str]]:
    """A row for each program that the estimator takes."""
    found = []
    for name, recipe in PROGRAMS.items():
        _, gradients = truth(recipe, 1)
        exact = next(value for key, value in gradients.items() if key.startswith("logits")).flatten().double()
        row = dict.fromkeys(FIELDS, "") | {"library": library, "version": version(library)}
        row |= {"estimator": audited.name, "declared": audited.declared, "program": name}
        try:
            mine = measured(audited.make(), recipe, exact, audited.width, audited.calls)
        except NotApplicableError:
            continue
        except Exception as error:  # noqa: BLE001  (what a library raises is a finding)
            found.append(row | {"verdict": f"raises {type(error).__name__}: {str(error).splitlines()[0][:120]}"})
            continue
        words, off = verdict(mine, exact, audited.declared)
        size, half = float(mine.along.mean()), INTERVAL * float(mine.along.std()) / math.sqrt(audited.calls)
        row |= {"size": f"{size:.4f}", "low": f"{size - half:.4f}", "high": f"{size + half:.4f}"}
        row |= {"off": f"{off:.1%}", "verdict": words}
        if audited.own:
            own = measured(load_estimator(audited.own), recipe, exact, audited.width, audited.calls)
            row |= {"variance": f"{mine.variance / max(own.variance, 1e-30):.3g} of {audited.own}"}
            row |= {"time": f"{mine.seconds / own.seconds:.2g}"}
        found.append(row)
    return found


def main(library: str, audits: Sequence[Audited]) -> None:
    """Audits all, or those whose names contain an argument of the command; writes ``audits/results/LIBRARY.csv``."""
    path, names = RESULTS / f"{Path(sys.argv[0]).parent.name}.csv", sys.argv[1:]
    earlier: list[dict[str, str]] = []
    if names and path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            earlier = list(csv.DictReader(file))
    found = []
    for audited in audits:
        if names and not any(name in audited.name for name in names):
            found += [row for row in earlier if row["estimator"] == audited.name]
            continue
        for row in rows(library, audited):
            print(" | ".join(row[field] for field in FIELDS), flush=True)
            found.append(row)
    RESULTS.mkdir(exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)
