"""Resolved suites: patterns are expanded against the known plugins, and options are checked."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias

from estbench.engine.base import Measure
from estbench.errors import UserError
from estbench.planning.cell import Cell
from estbench.planning.suite import Suite, Tune
from estbench.planning.tried import all_tried
from estbench.plugins.options import given_defaults
from estbench.plugins.registry import Catalogue, Plugins
from estbench.plugins.spec import Spec, select

Pair: TypeAlias = tuple[Spec, Spec]


@dataclass(frozen=True)
class ResolvedComparison:
    """One comparison of a suite: specifications of what there is, with checked options.

    Args:
        suite: the comparison as it was asked for.
        plugins: the plugins that it uses, with the faults of those that cannot be made.
        tasks: the tasks.
        estimators: the estimators.
        measures: the measures, with all their options.
    """

    suite: Suite
    plugins: Plugins
    tasks: Sequence[Spec]
    estimators: Sequence[Spec]
    measures: Sequence[Spec]

    @classmethod
    def of(cls, suite: Suite, plugins: Plugins, seconds: float | None = None) -> Self:
        """Expands globs and grids, and checks names and options.

        Args:
            suite: the comparison.
            plugins: the known plugins.
            seconds: time limit for making a plugin; None for no limit.

        Raises:
            UserError: a name is unknown, or an option is not what it must be.
        """
        patterns = {"task": suite.tasks, "estimator": suite.estimators, "measure": suite.measures}
        chosen = {kind: _chosen(plugins, kind, each, seconds) for kind, each in patterns.items()}
        measures = {
            _precise(_scaled(_with_defaults(plugins.measures, spec), suite.scale), suite.precision): fault
            for spec, fault in chosen.pop("measure").items()
        }
        faults = {
            kind: {spec: fault for spec, fault in found.items() if fault}
            for kind, found in {**chosen, "measure": measures}.items()
        }
        return cls(suite, plugins.having(faults), list(chosen["task"]), list(chosen["estimator"]), list(measures))

    @property
    def tuned(self) -> tuple[str, ...]:
        """The options that are chosen on validation."""
        return tuple(self.suite.tune.options) if self.suite.tune else ()

    def cells(self, chosen: Mapping[Pair, Pair]) -> Iterator[Cell]:
        """The cells to compare.

        Args:
            chosen: the task and the estimator that tuning chose, by both without tuned options; where it is silent
                the first of a grid is taken.
        """
        for measure in self.measures:
            for task, tasks in self._grouped(self.tasks).items():
                pairs = [
                    chosen.get((task, estimator), (tasks[0], estimators[0]))
                    for estimator, estimators in self._grouped(self.estimators).items()
                ]
                if not self._class(measure).tuned:
                    pairs = [(tasks[0], estimator) for _, estimator in pairs]
                yield from self._cells(measure, pairs, self.suite.seeds)

    def candidates(self, tune: Tune) -> dict[Pair, list[Cell]]:
        """The cells to choose from, by task and estimator without tuned options.

        Raises:
            UserError: there is nothing to choose from, or no measure to choose by.
        """
        measures = [measure for measure in self.measures if self._class(measure).tuned]
        if not measures:
            raise UserError(f"a suite that tunes needs the measure training; got {', '.join(self.suite.measures)}")
        groups: dict[Pair, list[Cell]] = {}
        for pair in itertools.product(self.tasks, self.estimators):
            key = pair[0].without(self.tuned), pair[1].without(self.tuned)
            groups.setdefault(key, []).extend(self._cells(_shortened(measures[0], tune), [pair], self.suite.seeds[:1]))
        groups = {key: cells for key, cells in groups.items() if len(cells) > 1}
        if not groups:
            raise UserError(f"nothing to choose from: no grid of {' or '.join(tune.options)} in the suite")
        return groups

    def _class(self, measure: Spec) -> type[Measure]:
        return self.plugins.measures[measure.name].load()

    def _grouped(self, specs: Iterable[Spec]) -> dict[Spec, list[Spec]]:
        """Specifications that differ in tuned options only, by what they share."""
        groups: dict[Spec, list[Spec]] = {}
        for spec in specs:
            groups.setdefault(spec.without(self.tuned), []).append(spec)
        return groups

    def _cells(self, measure: Spec, pairs: Sequence[Pair], seeds: Sequence[int]) -> Iterator[Cell]:
        """The cells of a measure: one for all estimators if it is joint, else one each."""
        kind, suite = self._class(measure), self.suite
        groups = [(pairs[0][0], tuple(spec for _, spec in pairs))] if kind.joint else [(t, (e,)) for t, e in pairs]
        for seed in seeds if kind.repeated else seeds[:1]:
            for task, group in groups:
                place = (seed, device(suite.device), suite.dtype, kind.joint, self.tuned, kind.budgets)
                yield Cell(task, group, measure, *place)


@dataclass(frozen=True)
class ResolvedSuite:
    """A suite, resolved once: plans and tuning trials are made from it.

    Args:
        plugins: the plugins that it uses, with the faults of those that cannot be made.
        comparisons: its comparisons.
    """

    plugins: Plugins
    comparisons: tuple[ResolvedComparison, ...]

    @classmethod
    def of(cls, suite: Suite, plugins: Plugins, seconds: float | None = None) -> Self:
        """Resolves each comparison of a suite.

        Args:
            suite: the suite.
            plugins: the known plugins.
            seconds: time limit for making a plugin; None for no limit.

        Raises:
            UserError: as ``ResolvedComparison.of``.
        """
        found: list[ResolvedComparison] = []
        for each in suite.comparisons:
            found.append(ResolvedComparison.of(each, plugins, seconds))
            plugins = found[-1].plugins
        return cls(plugins, tuple(found))


def device(name: str) -> str:
    """The device that a suite means."""
    if name != "auto":
        return name
    import torch  # noqa: PLC0415  (slow)

    return "cuda" if torch.cuda.is_available() else "cpu"


def _chosen(plugins: Plugins, kind: str, patterns: Sequence[str], seconds: float | None) -> dict[Spec, str]:
    """What patterns mean, with checked values, and why it cannot be made, if so.

    Each specification is there once, as words that differ may stand for one value.
    """
    found = all_tried(plugins, kind, _selected(plugins.of(kind), patterns), seconds)
    return {each.spec: each.fault for each in found}


def _selected(catalogue: Catalogue, patterns: Sequence[str]) -> list[Spec]:
    return select(patterns, catalogue.plugins, catalogue.kind, catalogue.unlisted)


def _with_defaults(measures: Catalogue, spec: Spec) -> Spec:
    """A measure with all its options, as its budgets have names of their own."""
    return Spec(spec.name, given_defaults(measures[spec.name].load()) | dict(spec.options))


def _scaled(measure: Spec, scale: float) -> Spec:
    """A measure with a fraction of its training steps; one that takes none, or all of them, as it is."""
    if "steps" not in measure.options:
        return measure
    return Spec(measure.name, {**measure.options, "steps": max(1, round(measure.options["steps"] * scale))})


def _precise(measure: Spec, precision: float | None) -> Spec:
    """A measure with this precision, if it has such an option and one is asked for."""
    if precision is None or "precision" not in measure.options:
        return measure
    return Spec(measure.name, {**measure.options, "precision": precision})


def _shortened(measure: Spec, tune: Tune) -> Spec:
    """A training as the candidates of tuning get it."""
    if tune.fraction == 1:
        return measure
    steps = max(1, round(measure.options["steps"] * tune.fraction))
    return Spec(measure.name, {**measure.options, "steps": steps, "samples": tune.samples, "evaluations": 1})
