"""Plans: a suite resolved into cells that can be measured independently of each other."""

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Self

from estbench.planning import effective_options, origins
from estbench.planning.cell import Cell, hashed
from estbench.planning.code_digest import Sources
from estbench.planning.resolved import Pair, ResolvedSuite
from estbench.planning.task_facts import task_facts
from estbench.plugins.plugin import Plugin
from estbench.plugins.registry import Plugins
from estbench.plugins.spec import Spec
from estbench.plugins.values import Plain
from estbench.store.cell_file import FORMAT, Entry


@dataclass(frozen=True)
class Plan:
    """The cells of a suite, and what goes into their keys.

    Args:
        cells: the cells in the order in which they run.
        sources: for each cell, a digest of the code that it depends on.
        plugins: the plugins that the cells use.
    """

    cells: tuple[Cell, ...]
    sources: tuple[str, ...]
    plugins: Plugins

    @classmethod
    def of(cls, cells: Iterable[Cell], plugins: Plugins) -> Self:
        """A plan of cells; those that need the machine to themselves come last."""
        ordered = tuple(sorted(cells, key=lambda cell: cell.joint))
        return cls(ordered, tuple(_digests(ordered, plugins)), plugins)

    @functools.cached_property
    def entries(self) -> dict[Cell, Entry]:
        """The name under which the result of each cell is kept."""
        versions = [version("torch"), version("numpy")]
        # a dictionary for each of 100,000 cells would take a quarter of the memory of a plan
        budgets = {cell.measure: cell.budget for cell in self.cells}
        return {
            cell: Entry(hashed(cell.identity, cell.tuned, source, versions, FORMAT), budgets[cell.measure])
            for cell, source in zip(self.cells, self.sources, strict=True)
        }

    @property
    def foreign(self) -> list[Plugin]:
        """The plugins of others that its cells use."""
        used = {(kind, name) for cell in self.cells for kind, names in cell.used.items() for name in names}
        found = [self.plugins.of(kind)[name] for kind, name in sorted(used)]
        return [plugin for plugin in found if plugin.foreign]

    def settled(self) -> Self:
        """The same plan with all declarations of plugins read, for a process that has not loaded the plugins."""
        _ = self.entries, self.options, self.families, self.papers
        return self

    @functools.cached_property
    def options(self) -> dict[str, dict[str, dict[str, Plain]]]:
        """All options by ``task`` or ``estimator``, its specification in the results, and the option's name."""
        return effective_options.resolved(self.cells, self.plugins)

    @functools.cached_property
    def planned(self) -> dict[str, dict[str, list[str]]]:
        """The measures by task and estimator, each by its specification in the results."""
        found: dict[str, dict[str, list[str]]] = {}
        for cell in self.cells:
            own = found.setdefault(str(cell.task.without(cell.tuned)), {})
            for spec in cell.estimators:
                measures = own.setdefault(str(spec.without(cell.tuned)), [])
                measures += [] if cell.measure.name in measures else [cell.measure.name]
        return found

    @functools.cached_property
    def families(self) -> dict[str, str]:
        """The family of each estimator, by its name."""
        return origins.families(self.cells, self.plugins)

    @functools.cached_property
    def papers(self) -> dict[str, str]:
        """The paper of each estimator that has one, by the estimator's name."""
        return origins.papers(self.cells, self.plugins)


def make(suite: ResolvedSuite, chosen: Mapping[Pair, Pair] | None = None) -> Plan:
    """The plan of a suite.

    Args:
        suite: what to compare.
        chosen: the task and the estimator that tuning chose, by task and estimator without tuned options; if it is
            silent the first of a grid is taken.
    """
    found = dict.fromkeys(cell for comparison in suite.comparisons for cell in comparison.cells(chosen or {}))
    return Plan.of(found, suite.plugins)


def _digests(cells: Iterable[Cell], plugins: Plugins) -> Iterator[str]:
    """For each cell a digest of its plugins, and of the estimators that its task names."""
    sources = Sources()

    @functools.cache
    def digest(task: Spec, estimators: tuple[str, ...], measure: str, code: tuple[str, ...]) -> str:
        used = [plugins.tasks[task.name], plugins.measures[measure]]
        named = (*estimators, *task_facts(plugins, task).named)
        used += [plugins.estimators[name] for name in dict.fromkeys(named)]
        own = sources.digest((plugin.module or plugin.name, plugin.path) for plugin in used)
        return hashed(own, *map(sources.outside, code)) if code else own

    @functools.cache
    def code(estimator: Spec) -> tuple[str, ...]:
        return tuple(plugins.estimators[estimator.name].load().code(estimator.options))

    for cell in cells:
        more = tuple(dict.fromkeys(name for spec in cell.estimators for name in code(spec)))
        yield digest(cell.task, tuple(spec.name for spec in cell.estimators), cell.measure.name, more)
