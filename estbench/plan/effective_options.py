"""What the options of a run's tasks and estimators were, those left at their defaults included."""

from typing import Any

from estbench.plan.plan import Plan
from estbench.plugins.options import defaults
from estbench.plugins.registry import Catalogue, discover
from estbench.plugins.spec import Spec
from estbench.plugins.values import plain


def resolved(plan: Plan, files: tuple[str, ...]) -> dict[str, dict[str, dict[str, Any]]]:
    """All options by ``task`` or ``estimator``, its specification in the results, and the option's name.

    Of an option that was tuned the results say, row by row, what was chosen.
    """
    specs: dict[str, dict[str, Spec]] = {"task": {}, "estimator": {}}
    for cell in plan.cells:
        specs["task"].setdefault(str(cell.task.without(cell.tuned)), cell.task)
        for spec in cell.estimators:
            specs["estimator"].setdefault(str(spec.without(cell.tuned)), spec)
    return {
        kind: {label: _options(discover(kind, files), spec) for label, spec in found.items()}
        for kind, found in specs.items()
    }


def _options(catalogue: Catalogue, spec: Spec) -> dict[str, Any]:
    effective = catalogue.make(spec).effective() if catalogue.kind == "task" else {}
    named = {str(key): plain(value) for key, value in effective.items()}
    return defaults(catalogue[spec.name].load()) | dict(spec.options) | named
