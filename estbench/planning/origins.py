"""Where the estimators of a run come from: the family that each one extends, and its paper."""

from collections.abc import Iterable, Mapping

from estbench.core.estimator import Estimator
from estbench.planning.cell import Cell
from estbench.plugins.registry import Plugins


def families(cells: Iterable[Cell], plugins: Plugins) -> dict[str, str]:
    """The family of each estimator, by its name."""
    return {name: _family(found) for name, found in _classes(cells, plugins).items()}


def papers(cells: Iterable[Cell], plugins: Plugins) -> dict[str, str]:
    """The paper of each estimator that has one, by the estimator's name."""
    return {name: found.paper for name, found in _classes(cells, plugins).items() if found.paper}


def _classes(cells: Iterable[Cell], plugins: Plugins) -> Mapping[str, type[Estimator]]:
    names = dict.fromkeys(spec.name for cell in cells for spec in cell.estimators)
    return {name: plugins.estimators[name].load() for name in names}


def _family(estimator: type[Estimator]) -> str:
    """The class right below Estimator among its ancestors."""
    ancestors = estimator.__mro__
    above = ancestors[ancestors.index(Estimator) - 1]
    return "other" if above is estimator else above.__name__
