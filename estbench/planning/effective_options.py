"""The options of a run's tasks and estimators, including defaults."""

from collections.abc import Iterable

from estbench.planning.cell import Cell
from estbench.planning.task_facts import task_facts
from estbench.plugins.options import defaults
from estbench.plugins.registry import Catalogue, Plugins
from estbench.plugins.spec import Spec
from estbench.plugins.values import Plain


def resolved(cells: Iterable[Cell], plugins: Plugins) -> dict[str, dict[str, dict[str, Plain]]]:
    """All options by ``task`` or ``estimator``, its specification in the results, and the option's name.

    For tuned options, each row of the results says which value was chosen.
    """
    tasks: dict[str, Spec] = {}
    estimators: dict[str, Spec] = {}
    for cell in cells:
        tasks.setdefault(str(cell.task.without(cell.tuned)), cell.task)
        for spec in cell.estimators:
            estimators.setdefault(str(spec.without(cell.tuned)), spec)
    return {
        "task": {label: _task(plugins, spec) for label, spec in tasks.items()},
        "estimator": {label: _options(plugins.estimators, spec) for label, spec in estimators.items()},
    }


def _options(catalogue: Catalogue, spec: Spec) -> dict[str, Plain]:
    return defaults(catalogue[spec.name].load()) | dict(spec.options)


def _task(plugins: Plugins, spec: Spec) -> dict[str, Plain]:
    return _options(plugins.tasks, spec) | dict(task_facts(plugins, spec).effective)
