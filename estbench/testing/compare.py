"""Comparisons of single estimates with the same random numbers."""

from collections.abc import Iterator

from torch import Tensor

from estbench.engine.model_state import ModelState
from estbench.testing.programs import Estimate, Recipe
from estbench.testing.replicates import one_gradient
from estbench.testing.subject import Subject


def modes(subject: Subject, recipe: Recipe) -> Iterator[tuple[Estimate, str]]:
    """The estimator on a net in evaluation and in training mode, with the names of the modes."""
    yield subject.bench(recipe), "eval mode"
    yield subject.bench(recipe).train(), "training mode"


def difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The largest difference of two gradients, relative to the largest entry."""
    largest = max(float(g.abs().max()) for g in one.values())
    apart = max(float((one[name] - other[name]).abs().max()) for name in one)
    return apart / largest if largest > 0 else apart


def seeded(subject: Subject, bench: Estimate) -> dict[str, Tensor]:
    """The value and the gradient of one call with a fixed seed, which the estimator's own generators do not follow."""
    with subject.seeded(6), ModelState(bench.estimator).held():
        value, gradients = one_gradient(bench)
    return {"value": value, **gradients}
