"""estbench benchmarks stochastic gradient estimators of discrete random variables."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from estbench.estimator import (
        ControlVariate,
        Coupled,
        Estimator,
        NotApplicableError,
        Pathwise,
        Relaxed,
        ScoreFunction,
    )
    from estbench.node import Bernoulli, Categorical, Node
    from estbench.plugins import load_estimator, load_task
    from estbench.task import Task

__version__ = "0.1.0"

__all__ = [
    "Bernoulli",
    "Categorical",
    "ControlVariate",
    "Coupled",
    "Estimator",
    "Node",
    "NotApplicableError",
    "Pathwise",
    "Relaxed",
    "ScoreFunction",
    "Task",
    "load_estimator",
    "load_task",
]

_HOMES = {
    "estbench.node": {"Bernoulli", "Categorical", "Node"},
    "estbench.plugins": {"load_estimator", "load_task"},
    "estbench.task": {"Task"},
}


def __getattr__(name: str) -> Any:
    """Imports public names when they are asked for, so that ``estbench list`` need not import torch."""
    if name not in __all__:
        raise AttributeError(f"module 'estbench' has no attribute {name!r}")
    home = next((home for home, names in _HOMES.items() if name in names), "estbench.estimator")
    return getattr(importlib.import_module(home), name)
