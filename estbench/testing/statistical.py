"""Statistical checks: whether an estimator is biased or unbiased as it declares.

A correct estimator fails with probability at most ``FALSE_ALARMS``. The level is shared evenly among the checks here,
and within a check among its looks and tests.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from scipy.stats import norm
from torch import Tensor

from estbench.testing.border import Masked
from estbench.testing.inference import FALSE_ALARMS, TOLERANCE, RunningCovariance, zero_mean_test
from estbench.testing.oracle import TooManyValuesError, objective, truth
from estbench.testing.programs import RECIPES, Estimate, Recipe
from estbench.testing.replicates import replicates
from estbench.testing.state import saturate
from estbench.testing.subject import MeanErrors, Subject, scale_of
from estbench.testing.verdict import Fault, Inapplicable

# the level of one check: two kinds run on every net, and there are broadcast, target, devices, examples and masks
ALPHA = FALSE_ALARMS / (2 * len(RECIPES) + 5)


def _study(subject: Subject, recipe: Recipe) -> MeanErrors:
    try:
        return subject.study(recipe, ALPHA)
    except TooManyValuesError as error:
        raise Inapplicable(str(error)) from error


def _measured(study: MeanErrors) -> str:
    return f"{study.judge()} (a bias of {study.resolution:.1%} shows)"


def unbiased(subject: Subject, recipe: Recipe) -> str:
    """If it is declared unbiased, the mean of its gradient is the gradient of its objective."""
    study = _study(subject, recipe)
    if study.biased:
        raise Fault(f"declared unbiased, it is biased: {study.bias}, {study.judge()}", _measured(study))
    return _measured(study)


def biased(subject: Subject) -> str:
    """If it is declared biased, it is biased on at least one program."""
    shown = []
    for recipe in subject.applicable():
        study = _study(subject, recipe)
        if study.biased:
            return f"{study.bias}, {study.judge()} ({recipe.name})"
        shown.append(study.resolution)
    if subject.obstacle:
        raise Inapplicable(f"no bias shows; so few replicates as a loop draws would show one of {max(shown):.1%}")
    raise Fault(f"it declares itself biased, and no bias of {max(shown):.1%} shows on any program")


def value(subject: Subject, recipe: Recipe) -> str:
    """Its value's mean is its objective; with inexact samples, this is only checked where the samples are certain."""
    if not subject.declared.exact_samples:
        return _certain_value(subject, recipe)
    error, spread, p = _value_error(subject, recipe)
    measured = f"error {error:.2g} +- {spread:.1g}"
    if p < ALPHA:
        why = (
            f"declared to have exact samples, its value does not estimate its objective, bound {subject.declared.bound}"
        )
        raise Fault(f"{why}: {measured}", measured)
    return measured


def inexact(subject: Subject) -> str:
    """If it declares inexact samples, its value's mean differs from its objective on at least one program."""
    shown = []
    for recipe in subject.applicable():
        error, spread, p = _value_error(subject, recipe)
        if p < ALPHA:
            return f"error of the value {error:.2g} +- {spread:.1g} ({recipe.name})"
        shown.append(spread)
    if subject.obstacle:
        raise Inapplicable(f"its value shows no error; so few replicates leave a standard error of {max(shown):.1g}")
    raise Fault(
        f"it declares inexact samples (exact_samples = False), and its value is exact on every program, with a "
        f"standard error of at most {max(shown):.1g}"
    )


def _value_error(subject: Subject, recipe: Recipe) -> tuple[float, float, float]:
    """The mean error of the value, its standard error, and the p-value of no error."""
    drawn = _study(subject, recipe).values
    error, spread = float(drawn.mean), float(drawn.covariance.clamp_min(0) / drawn.n) ** 0.5
    return error, spread, 2 * float(norm.sf(abs(error) / (spread**2 + TOLERANCE**2) ** 0.5))


def _certain_value(subject: Subject, recipe: Recipe) -> str:
    bench = subject.bench(recipe)
    saturate(bench, (1, -1, -1), anew=True)
    exact = float(objective(bench.model(), subject.declared.bound).detach())
    with subject.seeded(12):
        error = float(next(replicates(bench, 64))[0].mean()) - exact
    if abs(error) > 1e-3 * max(1.0, abs(exact)):
        raise Fault(f"where the samples are certain its value is off by {error:.2g}")
    return f"error {error:.1g} where the samples are certain"


def target(subject: Subject) -> str:
    """Among several objectives, the one whose gradient is nearest to its own is the one that it declares."""
    if subject.obstacle:
        raise Inapplicable("it takes more replicates to tell objectives apart than a loop draws in the time")
    recipe = next(subject.applicable())
    study, declared = _study(subject, recipe), subject.declared.bound
    distances = {bound: _distance(study, recipe, bound) for bound in sorted({1, 2, 3, 4, declared})}
    nearest = min(distances, key=lambda bound: distances[bound])
    if distances[nearest] < distances[declared]:
        raise Fault(f"it declares the objective of bound {declared}; its gradient is that of bound {nearest}")
    others = min(distance for bound, distance in distances.items() if bound != declared)
    return f"bound {declared}: {distances[declared]:.1g} away, others {others:.1g} or more"


def _distance(study: MeanErrors, recipe: Recipe, bound: int) -> float:
    """How far the mean gradient is from that of a bound, in relative units."""
    exact = scale_of(truth(recipe, bound)[1]).truth
    return float((study.gradients.mean - (exact - study.scale.truth) / study.scale.unit).norm())


def broadcast(subject: Subject) -> str:
    """With no batch dimension, or with two, the gradient has the mean that it has with one."""
    trials = [
        _MeanComparison(
            recipe, flat, *(partial(subject.bench, recipe, torch.float32, batch) for batch in (nested, flat))
        )
        for recipe in subject.applicable()
        for nested, flat in (((), (1,)), ((2, 3), (6,)))
    ]
    return _compare(subject, trials, "the shape of the batch changes its gradient")


def devices(subject: Subject) -> str:
    """On a CUDA device its gradient has the mean that it has on the CPU."""
    if not torch.cuda.is_available():
        raise Inapplicable("there is no CUDA device here")
    trials = [
        _MeanComparison(
            recipe, (2,), *(partial(subject.bench, recipe, torch.float32, device=d) for d in ("cpu", "cuda"))
        )
        for recipe in subject.applicable()
    ]
    return _compare(subject, trials, "CPU and CUDA have different gradients")


def masks(subject: Subject) -> str:
    """Masked classes and fixed bits have gradient 0 in both modes and do not change the mean gradient of the others."""
    trials = []
    recipes = [recipe for recipe in subject.applicable() if recipe.maskable]
    if not recipes:
        raise Inapplicable("its nodes have no masks")
    for recipe in recipes:
        _masked_gradients(subject, recipe)
        masked = partial(subject.bench, recipe, torch.float32, around=Masked)
        trials.append(_MeanComparison(recipe, (2,), masked, partial(subject.bench, recipe, torch.float32)))
    return _compare(subject, trials, "masked classes change the gradient of the others")


def _masked_gradients(subject: Subject, recipe: Recipe) -> None:
    leaves: list[Tensor] = []
    bench = subject.bench(recipe, torch.float32, around=partial(Masked, leaves=leaves))
    for stream in range(8):
        leaves.clear()
        with subject.seeded(15, stream):
            value = bench.train(stream % 2 == 1)()
        others = [p for name, p in bench.named_parameters() if name.startswith("model.")]
        found = torch.autograd.grad(value, [*leaves, *others], allow_unused=True, materialize_grads=True)
        if any(bool((g != 0).any()) for g in found[: len(leaves)]):
            raise Fault(f"a masked class or fixed bit gets a gradient that is not 0 ({recipe.name})")
        if not all(bool(x.isfinite().all()) for x in (value, *found)):
            raise Fault(f"with masked classes, the value or a gradient is not finite ({recipe.name})")


def examples(subject: Subject) -> str:
    """Unless it declares that it couples examples, gradients of different examples are uncorrelated."""
    recipes = list(subject.applicable())
    least = 1.0
    for recipe in recipes:
        p = _correlation_p(subject, recipe)
        if p < ALPHA / len(recipes):
            raise Fault(f"gradients of different examples are correlated: p = {p:.1g} ({recipe.name})")
        least = min(least, p)
    return f"least p = {least:.2g} of {len(recipes)}"


def _correlation_p(subject: Subject, recipe: Recipe) -> float:
    """The p-value of no correlation between two examples' gradients for the logits, by Bonferroni over all pairs."""
    bench = subject.bench(recipe)
    shapes = [shift.shape for name, shift in bench.model.named_parameters() if name.startswith("logits.")]
    with subject.seeded(14):
        drawn = torch.cat([gradients for _, gradients in replicates(bench, subject.fewer(subject.pair))]).double()
    by_layer = drawn[:, : sum(shape.numel() for shape in shapes)].split([shape.numel() for shape in shapes], 1)
    pairs = [layer.unflatten(1, shape).flatten(2) for layer, shape in zip(by_layer, shapes, strict=True)]
    one, other = (torch.cat([pair[:, example] for pair in pairs], 1) for example in range(2))
    one, other = ((x - x.mean(0)) / x.std(0).clamp_min(1e-12) for x in (one, other))
    z = (one.T @ other).abs().max().item() / len(drawn) ** 0.5
    return min(1.0, float(2 * norm.sf(z)) * one.shape[1] * other.shape[1])


class _MeanComparison(NamedTuple):
    """Two ways to make a bench that should have the same mean gradient."""

    recipe: Recipe
    batch: tuple[int, ...]
    one: Callable[[], Estimate]
    other: Callable[[], Estimate]

    def p(self, subject: Subject) -> float:
        """The p-value of the difference of their means."""
        scale = scale_of(truth(self.recipe, 1, self.batch)[1])
        moments = []
        for stream, make in enumerate((self.one, self.other)):
            moments.append(RunningCovariance(len(scale.truth)))
            with subject.seeded(13, stream):
                for _, gradients in replicates(make(), subject.fewer(subject.pair)):
                    moments[-1].add(gradients.double() / scale.unit)
        one, other = moments
        covariance = one.covariance / one.n + other.covariance / other.n
        return zero_mean_test(one.mean - other.mean, covariance, one.n).p


def _compare(subject: Subject, pairs: list[_MeanComparison], complaint: str) -> str:
    least = 1.0
    for pair in pairs:
        p = pair.p(subject)
        if p < ALPHA / len(pairs):
            raise Fault(f"{complaint}: p = {p:.1g} ({pair.recipe.name}, batch {pair.batch})")
        least = min(least, p)
    return f"least p = {least:.2g} of {len(pairs)}"
