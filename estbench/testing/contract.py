"""Checks of declarations: the accepted nodes, the number of evaluations, and the use of the derivative of the cost."""

import inspect

import torch
from torch import Tensor

from estbench.core.estimator import Estimator, NotApplicableError
from estbench.core.node import Node
from estbench.core.program import draw, run
from estbench.testing.compare import difference, modes
from estbench.testing.programs import RECIPES, Recipe, counted, unscored
from estbench.testing.replicates import one_gradient
from estbench.testing.subject import Subject
from estbench.testing.verdict import Fault


def declarations(subject: Subject) -> str:
    """All its declarations exist and are well-formed."""
    estimator = subject.declared
    if not isinstance(estimator, Estimator):
        raise Fault(f"an estimator must extend estbench.Estimator; got {type(estimator).__name__}")
    for name, kind in (("unbiased", bool), ("differentiates", bool), ("exact_samples", bool), ("paper", str)):
        value = inspect.getattr_static(type(estimator), name, None)
        if not isinstance(value, kind):
            raise Fault(f"the class attribute {name!r} must be a {kind.__name__}; got {value!r}")
    accepts = type(estimator).accepts
    if not (isinstance(accepts, tuple) and accepts and all(_is_node(kind) for kind in accepts)):
        raise Fault(f"'accepts' must be a tuple of types of nodes; got {accepts!r}")
    if not isinstance(estimator.bound, int) or estimator.bound < 1:
        raise Fault(f"'bound' must be a whole number of at least 1; got {estimator.bound!r}")
    takes = " and ".join(kind.__name__ for kind in accepts)
    samples = "exact" if estimator.exact_samples else "inexact"
    return f"{'unbiased' if estimator.unbiased else 'biased'}, {samples} samples, bound {estimator.bound}, {takes}"


def _is_node(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Node)


def runs(subject: Subject) -> str:
    """It returns a finite scalar of the model's precision, with finite gradients, in both modes."""
    done = []
    for recipe in subject.applicable():
        for bench, mode in modes(subject, recipe):
            with subject.seeded(3):
                value, gradients = one_gradient(bench)
            if value.dtype != torch.float64:
                raise Fault(f"for a float64 model it returns {value.dtype} ({recipe.name})")
            broken = [name for name, g in gradients.items() if not g.isfinite().all()]
            if broken or not value.isfinite():
                raise Fault(f"{broken[0] if broken else 'the value'} is not finite ({recipe.name}, {mode})")
        done.append(recipe.name)
    return "; ".join(done)


def refuses(subject: Subject) -> str:
    """It refuses nodes that it does not accept with ``NotApplicableError``."""
    others = [recipe for recipe in RECIPES if not recipe.accepted(subject.declared.accepts)]
    for recipe in others:
        model = recipe.net()
        try:
            subject.make().double().prepare(model())(model())
        except NotApplicableError:
            continue
        raise Fault(f"it does not accept these nodes, but runs on them without an error ({recipe.name})")
    return f"{len(others)} programs refused"


def evaluations(subject: Subject) -> str:
    """It evaluates the cost as often as it declares."""
    found = []
    for recipe in subject.applicable():
        for bench, mode in modes(subject, recipe):
            nodes = [site.node for site in run(bench.model(), draw)[1].values()]
            declared = bench.estimator.evaluations(nodes)
            rows: list[int] = []
            with subject.seeded(4):
                bench(around=lambda program, rows=rows: counted(program, rows))
            counts = sum(rows) / nodes[0].logits.shape[0]
            if counts != declared:
                raise Fault(f"it declares {declared} evaluations and makes {counts:g} ({recipe.name}, {mode})")
        found.append(f"{declared}")
    return f"{', '.join(found)} as declared"


def derivative(subject: Subject) -> str:
    """It uses the derivative of the cost with respect to samples if and only if it declares so."""
    for recipe in subject.applicable():
        cut, kept = (_without_score(subject, recipe, detached=detached) for detached in (True, False))
        uses = difference(cut, kept) > 1e-9
        if uses and not subject.declared.differentiates:
            raise Fault(
                f"it declares that it does not differentiate the cost, and its gradient changes when samples "
                f"are detached ({recipe.name})"
            )
        if subject.declared.differentiates and not uses:
            raise Fault(
                f"it declares that it differentiates the cost, and its gradient does not change when samples "
                f"are detached ({recipe.name})"
            )
    return "used, as declared" if subject.declared.differentiates else "not used, as declared"


def _without_score(subject: Subject, recipe: Recipe, *, detached: bool) -> dict[str, Tensor]:
    with subject.seeded(5):
        bench = subject.bench(recipe)
    with subject.seeded(5):
        return one_gradient(bench, around=lambda program: unscored(program, detached=detached))[1]


CHECKS = (declarations, runs, refuses, evaluations, derivative)
