"""Plans: a suite resolved into cells that can be measured independently of each other."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from estbench.options import check
from estbench.plugins import Catalogue, discover
from estbench.spec import Spec, select
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
    """

    task: Spec
    estimators: tuple[Spec, ...]
    measure: Spec
    seed: int
    device: str
    dtype: str
    files: tuple[str, ...] = ()
    joint: bool = False

    def __str__(self) -> str:
        who = str(self.estimators[0]) if len(self.estimators) == 1 else f"{len(self.estimators)} estimators"
        return f"{self.measure.name} of {who} on {self.task}, seed {self.seed}"


@dataclass(frozen=True)
class Plan:
    """The cells of a suite, and what goes into their keys.

    Args:
        cells: in the order of running.
        sources: digest of the framework's source, and of each plugin's by kind and name.
    """

    cells: tuple[Cell, ...]
    sources: Mapping[str, str]

    def key(self, cell: Cell) -> str:
        """A hash of everything that a cell's result depends on."""
        plugins = [f"task {cell.task.name}", f"measure {cell.measure.name}"]
        plugins += [f"estimator {spec.name}" for spec in cell.estimators]
        contents = {
            "cell": {k: v for k, v in asdict(cell).items() if k != "files"},
            "sources": [self.sources["framework"], *(self.sources[plugin] for plugin in plugins)],
            "versions": [version("torch"), version("numpy")],
        }
        return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()[:32]


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
                    place = (seed, device(suite.device), suite.dtype, files, kind.joint)
                    cells.append(Cell(task, group, measure, *place))
    return Plan(tuple(sorted(cells, key=lambda cell: cell.joint)), _sources(catalogues))


def device(name: str) -> str:
    """The device that a suite means."""
    if name != "auto":
        return name
    import torch  # noqa: PLC0415  (slow)

    return "cuda" if torch.cuda.is_available() else "cpu"


def _checked(catalogue: Catalogue, spec: Spec) -> Spec:
    options = check(catalogue[spec.name].load(), spec)
    if catalogue.kind != "measure":
        catalogue.make(spec)
    return Spec(spec.name, options)


def _sources(catalogues: Mapping[str, Catalogue]) -> dict[str, str]:
    package = Path(__file__).parent
    parts = ("*.py", "families/*.py", "measure/_*.py", "measure/base.py")
    framework = sorted(path for part in parts for path in package.glob(part))
    digests = {"framework": _digest(framework)}
    for kind, catalogue in catalogues.items():
        for name, plugin in catalogue.plugins.items():
            digests[f"{kind} {name}"] = _digest([plugin.path] if plugin.path else [])
    return digests


def _digest(paths: list[Path]) -> str:
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()
