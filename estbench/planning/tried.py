"""Trying: specifications are checked by making their plugins, before anything is measured."""

from collections.abc import Sequence
from dataclasses import dataclass

from estbench.errors import UserError
from estbench.planning.task_facts import task_facts
from estbench.plugins.declarations import check_declarations
from estbench.plugins.options import ConstructionError, checked_options
from estbench.plugins.registry import Plugins
from estbench.plugins.spec import Spec
from estbench.runtime.guard import staying
from estbench.runtime.isolation import DiedError, isolated
from estbench.runtime.process_state import unchanged


@dataclass(frozen=True)
class Tried:
    """A specification that was tried.

    Args:
        spec: the same with checked values.
        fault: why its plugin cannot be made; empty if it can. Its cells fail with this reason.
    """

    spec: Spec
    fault: str = ""


def all_tried(plugins: Plugins, kind: str, specs: Sequence[Spec], seconds: float | None) -> list[Tried]:
    """Checks specifications; those of one third-party plugin share a process, as long as none of them ends it.

    Args:
        plugins: the known plugins.
        kind: estimator, task or measure.
        specs: the specifications.
        seconds: how long making a plugin may take; None for no limit.

    Raises:
        UserError: an option or a declaration is not what it must be, or importing a plugin ends the process.
    """
    found: dict[Spec, Tried] = {}
    for name in dict.fromkeys(spec.name for spec in specs):
        own = [spec for spec in specs if spec.name == name]
        shared = len(own) > 1 and plugins.of(kind)[name].foreign
        together = _together(plugins, kind, own, seconds) if shared else []
        found |= zip(own, together or [tried(plugins, kind, spec, seconds) for spec in own], strict=True)
    return [found[spec] for spec in specs]


def _together(plugins: Plugins, kind: str, specs: Sequence[Spec], seconds: float | None) -> list[Tried]:
    """Tries several specifications in one process; an empty list if it ends or takes longer than one may take."""
    try:
        found = isolated(lambda: [_made(plugins, kind, spec) for spec in specs], seconds)
    except DiedError:
        return []
    _load(plugins, kind, specs[0])
    return found


def tried(plugins: Plugins, kind: str, spec: Spec, seconds: float | None) -> Tried:
    """Checks a specification; third-party code is tried in a process of its own.

    Args:
        plugins: the known plugins.
        kind: estimator, task or measure.
        spec: the specification.
        seconds: how long making the plugin may take; None for no limit.

    Raises:
        UserError: an option or a declaration is not what it must be, or importing the plugin ends the process.
    """
    plugin = plugins.of(kind)[spec.name]
    if not plugin.foreign:
        return _made(plugins, kind, spec)
    try:
        found = isolated(lambda: _made(plugins, kind, spec), seconds)
    except DiedError as error:
        found = Tried(_checked(plugins, kind, spec, seconds), f"{spec} cannot be made: {error}")
    _load(plugins, kind, spec)
    return found


def _load(plugins: Plugins, kind: str, spec: Spec) -> None:
    """Imports a plugin, whose class planning asks for its declarations; what its module changes must not stay."""
    with staying(), unchanged():
        plugins.of(kind)[spec.name].load()


def _made(plugins: Plugins, kind: str, spec: Spec) -> Tried:
    catalogue = plugins.of(kind)
    checked, fault = Spec(spec.name, checked_options(catalogue[spec.name].load(), spec)), ""
    try:
        check_declarations(kind, spec.name, catalogue.make(spec))
        if kind == "task":
            task_facts(plugins, spec)
    except ConstructionError as error:
        fault = str(error)
    return Tried(checked, fault)


def _checked(plugins: Plugins, kind: str, spec: Spec, seconds: float | None) -> Spec:
    """A specification with checked values, for which the plugin is imported and not made."""
    plugin = plugins.of(kind)[spec.name]
    try:
        return Spec(spec.name, isolated(lambda: checked_options(plugin.load(), spec), seconds))
    except DiedError as error:
        raise UserError(f"{kind} '{spec}' ({plugin.origin}) cannot be imported: {error}") from error
