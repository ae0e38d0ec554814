"""estbench benchmarks stochastic gradient estimators of discrete random variables."""

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from estbench.api.comparing import compare, plan
    from estbench.api.judging import check, diff, gate, load, merge
    from estbench.api.run import Run
    from estbench.core.estimator import Estimator, NotApplicableError
    from estbench.core.metrics import Metric
    from estbench.core.node import Bernoulli, Categorical, Node, Normal, Permutation, Subset
    from estbench.core.task import Batch, Splits, Task
    from estbench.engine.base import Bench, MakeEstimator, Measure, Row
    from estbench.errors import UserError
    from estbench.families.control_variate import ControlVariate, Relaxed
    from estbench.families.coupled import Antithetic, Coupled
    from estbench.families.pathwise import Pathwise, Tempered
    from estbench.families.perturbed import Perturbed
    from estbench.families.score_function import ScoreFunction
    from estbench.families.weighted import Weighted
    from estbench.plugins.drop_in import expectation, rsample
    from estbench.plugins.registry import Catalogue, discover, load_estimator, load_task
    from estbench.plugins.spec import Spec

__version__ = "0.2.0"

if importlib.util.find_spec("estbench.tasks") is None:
    # an installation maps folders beside this one to it; in a checkout that is not installed they are found here
    __path__.append(str(Path(__file__).parent.parent))

HOMES = {
    "Antithetic": "families.coupled",
    "Batch": "core.task",
    "Bench": "engine.base",
    "Bernoulli": "core.node",
    "Catalogue": "plugins.registry",
    "Categorical": "core.node",
    "ControlVariate": "families.control_variate",
    "Coupled": "families.coupled",
    "Estimator": "core.estimator",
    "MakeEstimator": "engine.base",
    "Measure": "engine.base",
    "Metric": "core.metrics",
    "Node": "core.node",
    "Normal": "core.node",
    "NotApplicableError": "core.estimator",
    "Pathwise": "families.pathwise",
    "Permutation": "core.node",
    "Perturbed": "families.perturbed",
    "Relaxed": "families.control_variate",
    "Row": "engine.base",
    "Run": "api.run",
    "ScoreFunction": "families.score_function",
    "Spec": "plugins.spec",
    "Splits": "core.task",
    "Subset": "core.node",
    "Task": "core.task",
    "Tempered": "families.pathwise",
    "UserError": "errors",
    "Weighted": "families.weighted",
    "check": "api.judging",
    "compare": "api.comparing",
    "diff": "api.judging",
    "discover": "plugins.registry",
    "expectation": "plugins.drop_in",
    "gate": "api.judging",
    "load": "api.judging",
    "load_estimator": "plugins.registry",
    "load_task": "plugins.registry",
    "merge": "api.judging",
    "plan": "api.comparing",
    "rsample": "plugins.drop_in",
}

__all__ = [
    "Antithetic",
    "Batch",
    "Bench",
    "Bernoulli",
    "Catalogue",
    "Categorical",
    "ControlVariate",
    "Coupled",
    "Estimator",
    "MakeEstimator",
    "Measure",
    "Metric",
    "Node",
    "Normal",
    "NotApplicableError",
    "Pathwise",
    "Permutation",
    "Perturbed",
    "Relaxed",
    "Row",
    "Run",
    "ScoreFunction",
    "Spec",
    "Splits",
    "Subset",
    "Task",
    "Tempered",
    "UserError",
    "Weighted",
    "check",
    "compare",
    "diff",
    "discover",
    "expectation",
    "gate",
    "load",
    "load_estimator",
    "load_task",
    "merge",
    "plan",
    "rsample",
]


def __getattr__(name: str) -> Any:
    """Imports public names when they are asked for, so that ``estbench list`` need not import torch."""
    if name not in HOMES:
        raise AttributeError(f"module 'estbench' has no attribute {name!r}")
    return getattr(importlib.import_module(f"estbench.{HOMES[name]}"), name)


def __dir__() -> list[str]:
    """The public names, for completion."""
    return __all__
