"""Checks of plugins' declarations (class attributes), made before anything is measured."""

from collections.abc import Callable, Mapping
from typing import Any

from estbench.core.metrics import Metric, unique
from estbench.errors import UserError, plain, reason, shorten


def check_declarations(kind: str, name: str, made: Any) -> None:
    """Checks that a plugin has all required declarations, and that they are well-formed.

    Args:
        kind: estimator, task or measure.
        name: the plugin's name, for the message.
        made: an instance of it.

    Raises:
        UserError: a declaration is missing or is not what it must be.
    """
    for attribute, (admits, wanted) in _DECLARED[kind].items():
        try:
            value = getattr(made, attribute)
        except AttributeError as error:
            raise UserError(
                f"{kind} {name!r} does not declare {attribute!r}: {wanted}, as an attribute of the class"
            ) from error
        except Exception as error:
            raise UserError(f"{kind} {name!r}: its declaration {attribute!r} raises {reason(error)}") from error
        if not admits(value):
            got = shorten(plain(repr(value)), 120)
            raise UserError(f"{kind} {name!r}: the declaration {attribute!r} must be {wanted}; got {got}")


def _nodes(value: object) -> bool:
    from estbench.core.node import Node  # noqa: PLC0415  (imports torch, and so would `estbench list`)

    types = value if isinstance(value, tuple) else ()
    return bool(types) and all(isinstance(kind, type) and issubclass(kind, Node) for kind in types)


def _is(*kinds: type) -> Callable[[object], bool]:
    return lambda value: isinstance(value, kinds)


def _names(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(name, str) for name in value)


def _metrics(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(each, Metric) for each in value) and unique(value)


def _at_least_one(value: object) -> bool:
    return isinstance(value, int) and value >= 1


_TRUTH = _is(bool), "True or False"
_DECLARED: Mapping[str, Mapping[str, tuple[Callable[[object], bool], str]]] = {
    "estimator": {
        "unbiased": _TRUTH,
        "differentiates": _TRUTH,
        "exact_samples": _TRUTH,
        "couples_examples": _TRUTH,
        "accepts": (_nodes, "a tuple of types of nodes, such as (Bernoulli, Categorical)"),
        "paper": (_is(str), "a text, which may be empty"),
    },
    "task": {
        "objective": (lambda value: value in ("elbo", "nll", "loss"), "'elbo', 'nll' or 'loss'"),
        "baseline": (_is(str), "the name of an unbiased estimator"),
        "oracle": (_is(str, type(None)), "the name of an exact estimator, or None"),
        "batch_size": (_at_least_one, "a whole number of at least 1"),
    },
    "measure": {
        "metrics": (_metrics, "a tuple of estbench.Metric, no two of them with one key"),
        "joint": _TRUTH,
        "tuned": _TRUTH,
        "repeated": _TRUTH,
        "budgets": (_names, "a tuple of names of options"),
        "ensembles": _TRUTH,
    },
}
