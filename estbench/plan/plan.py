"""Plans: a suite resolved into cells that can be measured independently of each other."""

import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Self, TypeAlias

from estbench.engine.base import Measure
from estbench.errors import UserError
from estbench.plan.cell import Cell, hashed
from estbench.plan.code_digest import Sources
from estbench.plan.suite import Suite, Tune
from estbench.plugins.declarations import verify
from estbench.plugins.options import ConstructionError, check, given_defaults, options_of
from estbench.plugins.registry import Catalogue, discover
from estbench.plugins.spec import Spec, select
from estbench.store.cell_file import FORMAT, Entry


@dataclass(frozen=True)
class Plan:
    """The cells of a suite, and what goes into their keys.

    Args:
        cells: in the order of running.
        sources: for each cell, a digest of the code that it depends on.
    """

    cells: tuple[Cell, ...]
    sources: tuple[str, ...]

    @functools.cached_property
    def entries(self) -> dict[Cell, Entry]:
        """What the result of each cell is kept under."""
        versions = [version("torch"), version("numpy")]
        return {
            cell: Entry(hashed(cell.identity, cell.tuned, source, versions, FORMAT), cell.budget)
            for cell, source in zip(self.cells, self.sources, strict=True)
        }


Pair: TypeAlias = tuple[Spec, Spec]


def make(suite: Suite, files: tuple[str, ...] = (), chosen: Mapping[Pair, Pair] | None = None) -> Plan:
    """Resolves a suite: names, globs, grids and options are checked before anything runs.

    Args:
        suite: what to compare.
        files: plugin files named by the user.
        chosen: the task and the estimator that tuning chose, by task and estimator without tuned options; where it is
            silent the first of a grid is taken.

    Raises:
        UserError: a name is unknown, or an option is not what it must be.
    """
    found: dict[Cell, None] = {}
    for comparison in suite.comparisons:
        resolved = _Resolved.of(comparison, files)
        found |= dict.fromkeys(resolved.comparison(chosen or {}))
    return _plan(found, files)


@dataclass(frozen=True)
class Trials:
    """What has to be trained to choose the options that a suite tunes: by the first seed, on a fraction of the steps.

    Args:
        plan: all cells.
        groups: the cells by task and estimator without tuned options.
        metrics: what decides in each group, if not the objective.
    """

    plan: Plan
    groups: Mapping[Pair, Sequence[Cell]]
    metrics: Mapping[Pair, str]


def trials(suite: Suite, files: tuple[str, ...] = ()) -> Trials | None:
    """The candidates of a suite's tuning; None where it tunes nothing.

    Raises:
        UserError: as ``make``; or there is nothing to choose from.
    """
    groups: dict[Pair, list[Cell]] = {}
    metrics: dict[Pair, str] = {}
    for comparison in suite.comparisons:
        if comparison.tune is not None:
            found = _Resolved.of(comparison, files).candidates(comparison.tune)
            groups |= found
            metrics |= dict.fromkeys(found, comparison.tune.metric)
    if not groups:
        return None
    return Trials(_plan((cell for cells in groups.values() for cell in cells), files), groups, metrics)


def _shortened(measure: Spec, tune: Tune) -> Spec:
    if tune.fraction == 1:
        return measure
    steps = max(1, round(measure.options["steps"] * tune.fraction))
    return Spec(measure.name, {**measure.options, "steps": steps, "samples": tune.samples, "evaluations": 1})


@dataclass(frozen=True)
class _Resolved:
    """A suite with its patterns expanded and checked."""

    suite: Suite
    files: tuple[str, ...]
    catalogues: Mapping[str, Catalogue]
    tasks: list[Spec]
    estimators: list[Spec]
    measures: list[Spec]

    @classmethod
    def of(cls, suite: Suite, files: tuple[str, ...]) -> Self:
        catalogues = _catalogues(files)
        patterns = {"task": suite.tasks, "estimator": suite.estimators, "measure": suite.measures}
        found = {
            # once each: words that differ may stand for one value
            kind: [*dict.fromkeys(_checked(catalogue, s) for s in select(patterns[kind], catalogue.plugins, kind))]
            for kind, catalogue in catalogues.items()
        }
        scaled = [_scaled(catalogues["measure"], spec, suite.scale) for spec in found["measure"]]
        measures = [_precise(spec, suite.precision) for spec in scaled]
        return cls(suite, files, catalogues, found["task"], found["estimator"], measures)

    @property
    def tuned(self) -> tuple[str, ...]:
        return tuple(self.suite.tune.options) if self.suite.tune else ()

    def kind(self, measure: Spec) -> type[Measure]:
        return self.catalogues["measure"][measure.name].load()

    def grouped(self, specs: Iterable[Spec]) -> dict[Spec, list[Spec]]:
        """Specifications that differ in tuned options only, by what they share."""
        groups: dict[Spec, list[Spec]] = {}
        for spec in specs:
            groups.setdefault(spec.without(self.tuned), []).append(spec)
        return groups

    def comparison(self, chosen: Mapping[Pair, Pair]) -> Iterator[Cell]:
        """The cells to compare, with what was chosen; where that is silent, the first of a grid."""
        for measure in self.measures:
            for task, tasks in self.grouped(self.tasks).items():
                pairs = [
                    chosen.get((task, estimator), (tasks[0], estimators[0]))
                    for estimator, estimators in self.grouped(self.estimators).items()
                ]
                if not self.kind(measure).tuned:
                    pairs = [(tasks[0], estimator) for _, estimator in pairs]
                yield from self.cells(measure, pairs, self.suite.seeds)

    def candidates(self, tune: Tune) -> dict[Pair, list[Cell]]:
        """The cells to choose from, by task and estimator without tuned options."""
        measures = [measure for measure in self.measures if self.kind(measure).tuned]
        if not measures:
            raise UserError(f"a suite that tunes needs the measure training; got {', '.join(self.suite.measures)}")
        groups: dict[Pair, list[Cell]] = {}
        for pair in itertools.product(self.tasks, self.estimators):
            key = pair[0].without(self.tuned), pair[1].without(self.tuned)
            groups.setdefault(key, []).extend(self.cells(_shortened(measures[0], tune), [pair], self.suite.seeds[:1]))
        groups = {key: cells for key, cells in groups.items() if len(cells) > 1}
        if not groups:
            raise UserError(f"nothing to choose from: no grid of {' or '.join(tune.options)} in the suite")
        return groups

    def cells(self, measure: Spec, pairs: Sequence[Pair], seeds: Sequence[int]) -> Iterator[Cell]:
        """The cells of a measure: one for all estimators if it is joint, else one each."""
        kind, suite = self.kind(measure), self.suite
        groups = [(pairs[0][0], tuple(spec for _, spec in pairs))] if kind.joint else [(t, (e,)) for t, e in pairs]
        for seed in seeds if kind.repeated else seeds[:1]:
            for task, group in groups:
                place = (seed, device(suite.device), suite.dtype, self.files, kind.joint, self.tuned, kind.budgets)
                yield Cell(task, group, measure, *place)


def _plan(cells: Iterable[Cell], files: tuple[str, ...]) -> Plan:
    """A plan of cells; those that need the machine to themselves come last."""
    ordered = tuple(sorted(cells, key=lambda cell: cell.joint))
    return Plan(ordered, tuple(_sources(ordered, _catalogues(files))))


def _catalogues(files: tuple[str, ...]) -> dict[str, Catalogue]:
    return {kind: discover(kind, files) for kind in ("task", "estimator", "measure")}


def device(name: str) -> str:
    """The device that a suite means."""
    if name != "auto":
        return name
    import torch  # noqa: PLC0415  (slow)

    return "cuda" if torch.cuda.is_available() else "cpu"


def _checked(catalogue: Catalogue, spec: Spec) -> Spec:
    """A specification with checked values; of a measure with all of them, for its budgets have names of their own."""
    cls = catalogue[spec.name].load()
    options = check(cls, spec)
    try:
        verify(catalogue.kind, spec.name, catalogue.make(spec))
    except ConstructionError:
        if catalogue.kind != "estimator":
            raise
        # its cells say so, and those of the others are measured
    return Spec(spec.name, (given_defaults(cls) if catalogue.kind == "measure" else {}) | options)


def _scaled(catalogue: Catalogue, measure: Spec, scale: float) -> Spec:
    """A measure with a fraction of its training steps; one that takes none, or all of them, as it is."""
    steps = options_of(catalogue[measure.name].load()).get("steps")
    if steps is None:
        return measure
    wanted = measure.options.get("steps", steps.default)
    return Spec(measure.name, {**measure.options, "steps": max(1, round(wanted * scale))})


def _precise(measure: Spec, precision: float | None) -> Spec:
    """A measure with this precision, if it has such an option and one is asked for."""
    if precision is None or "precision" not in measure.options:
        return measure
    return Spec(measure.name, {**measure.options, "precision": precision})


def _sources(cells: Iterable[Cell], catalogues: Mapping[str, Catalogue]) -> Iterator[str]:
    """For each cell a digest of its plugins, and of the estimators that its task names."""
    sources = Sources()

    @functools.cache
    def digest(task: Spec, estimators: tuple[str, ...], measure: str) -> str:
        made = catalogues["task"].make(task)
        named = [Spec.one(made.baseline).name, *([made.oracle] if made.oracle else [])]
        plugins = [catalogues["task"][task.name], catalogues["measure"][measure]]
        plugins += [catalogues["estimator"][name] for name in dict.fromkeys((*estimators, *named))]
        return sources.digest((plugin.module or plugin.name, plugin.path) for plugin in plugins)

    for cell in cells:
        yield digest(cell.task, tuple(spec.name for spec in cell.estimators), cell.measure.name)
