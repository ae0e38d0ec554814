"""What another process needs to make a bridge again: its function, and the options of the estimator ``function``."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from estbench.bridges.losses import SurrogateFunction
from estbench.bridges.samples import PathwiseFunction
from estbench.bridges.through_jax import JaxFunction

Bridge: TypeAlias = PathwiseFunction | SurrogateFunction
NAME = "function"


def described(bridge: Bridge) -> tuple[Callable[..., Any], Mapping[str, Any]]:
    """The function of a bridge, and its options without the path."""
    outside = bridge.outside
    function: Any = outside.function
    loss, in_jax = isinstance(bridge, SurrogateFunction), isinstance(function, JaxFunction)
    kind = ("jax_surrogate" if loss else "jax") if in_jax else ("surrogate" if loss else "pathwise")
    options: dict[str, object] = {"kind": kind, "event_dim": outside.event_dim, "unbiased": bridge.unbiased}
    options["couples_examples"] = bridge.couples_examples
    if isinstance(bridge, PathwiseFunction):
        options["exact_samples"] = bridge.exact_samples
    else:
        options["differentiates"] = bridge.differentiates
    if isinstance(bridge, SurrogateFunction) and not in_jax:
        options["detached"] = bridge.detached
    if in_jax:
        options["jit"], function = function.jit, function.function
    usual = {"kind": "pathwise", "event_dim": 1, "unbiased": loss, "jit": True}
    if isinstance(bridge, PathwiseFunction):
        usual["exact_samples"] = bridge.binary
    given = {name: value for name, value in options.items() if value != usual.get(name, False)}
    return function, {**given, **outside.options}


def importable(function: Callable[..., Any]) -> str:
    """The path of a function that every process can import; empty if it has none."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    if not module or module in ("__main__", "builtins") or not name:
        return ""
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return ""
    return f"{module}:{name}" if found is function else ""
