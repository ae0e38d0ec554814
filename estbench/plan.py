"""Plans: a suite resolved into cells that can be measured independently of each other."""

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from estbench.options import check, options_of
from estbench.plugins import Catalogue, discover
from estbench.code import Sources
from estbench.spec import Spec, select
from estbench.store import FORMAT, Entry
from estbench.suite import Suite


@dataclass(frozen=True)
class Cell:
    """One measurement.

    Args:
        task: the task.
        estimators: one, or all of them for a joint measure.
        measure: the measure.
        seed: the run's seed.
        device: ``cpu``, ``cuda`` or ``cuda:1``.
        dtype: ``float32`` or ``float64``.
        files: plugin files named by the user.
        joint: whether the measure is joint; such cells run last, with the machine to themselves.
        budgets: options of the measure that say how much is measured.
    """

    task: Spec
    estimators: tuple[Spec, ...]
    measure: Spec
    seed: int
    device: str
    dtype: str
    files: tuple[str, ...] = ()
    joint: bool = False
    budgets: tuple[str, ...] = ()

    def __str__(self) -> str:
        who = str(self.estimators[0]) if len(self.estimators) == 1 else f"{len(self.estimators)} estimators"
        return f"{self.measure.name} of {who} on {self.task}, seed {self.seed}"

    @property
    def budget(self) -> dict[str, int]:
        """How much is measured."""
        return {name: self.measure.options[name] for name in self.budgets}

    @property
    def about(self) -> dict[str, Any]:
        """What it is, for people."""
        return {
            "task": str(self.task),
            "estimators": [str(spec) for spec in self.estimators],
            "measure": self.measure.name,
            "seed": self.seed,
            "device": self.device,
            "dtype": self.dtype,
            "alone": self.joint,
            "budget": self.budget,
        }

    @functools.cached_property
    def identity(self) -> str:
        """A hash of what is measured: of all options but budgets. Its random numbers come from it and the seed."""
        measure = {name: value for name, value in self.measure.options.items() if name not in self.budgets}
        return _hash(
            [self.task.name, self.task.options],
            [[spec.name, spec.options] for spec in self.estimators],
            [self.measure.name, measure],
            self.seed,
            self.device.partition(":")[0],
            self.dtype,
        )


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
            cell: Entry(_hash(cell.identity, source, versions, FORMAT), cell.budget)
            for cell, source in zip(self.cells, self.sources, strict=True)
        }


def make(suite: Suite, files: tuple[str, ...] = ()) -> Plan:
    """Resolves a suite: names, globs, grids and options are checked before anything runs.

    Raises:
        UserError: a name is unknown, or an option is not what it must be.
    """
    catalogues = {kind: discover(kind, files) for kind in ("task", "estimator", "measure")}
    chosen = {
        "task": select(suite.tasks, catalogues["task"].plugins, "task"),
        "estimator": select(suite.estimators, catalogues["estimator"].plugins, "estimator"),
        "measure": select(suite.measures, catalogues["measure"].plugins, "measure"),
    }
    resolved = {kind: [_checked(catalogues[kind], spec) for spec in specs] for kind, specs in chosen.items()}
    cells = []
    for measure in resolved["measure"]:
        kind = catalogues["measure"][measure.name].load()
        together = tuple(resolved["estimator"])
        groups = [together] if kind.joint else [(spec,) for spec in together]
        for task in resolved["task"]:
            for seed in suite.seeds if kind.repeated else suite.seeds[:1]:
                for group in groups:
                    place = (seed, device(suite.device), suite.dtype, files, kind.joint, kind.budgets)
                    cells.append(Cell(task, group, measure, *place))
    # what needs the machine to itself comes last
    cells.sort(key=lambda cell: cell.joint)
    return Plan(tuple(cells), tuple(_sources(cells, catalogues)))


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
    catalogue.make(spec)
    if catalogue.kind == "measure":
        options = {name: parameter.default for name, parameter in options_of(cls).items()} | options
    return Spec(spec.name, options)


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


def _hash(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
