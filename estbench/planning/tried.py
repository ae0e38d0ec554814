"""Trying: specifications are checked by making their plugins, before anything is measured."""

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
    # planning asks the class for its declarations; what its module changes at import must not stay
    with staying(), unchanged():
        plugin.load()
    return found


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
