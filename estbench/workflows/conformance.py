"""Checks of estimators and tasks by their names."""

from collections.abc import Iterable, Iterator
from functools import partial

from estbench.bridges.described import NAME
from estbench.errors import UserError
from estbench.plugins import options
from estbench.plugins.registry import Plugins
from estbench.plugins.spec import Spec, select
from estbench.testing import Verdict, run_checks, run_task_checks


def selected(patterns: Iterable[str], plugins: Plugins) -> list[Spec]:
    """The estimators and tasks that patterns name.

    Raises:
        UserError: a pattern matches none of them, or an option is unknown or has a value it cannot have.
    """
    known = [*plugins.estimators.plugins, *plugins.tasks.plugins]
    found = select(patterns, known, "estimator or task", plugins.estimators.unlisted)
    for spec in found:
        for catalogue in (plugins.estimators, plugins.tasks):
            if spec.name in catalogue:
                options.checked_options(catalogue[spec.name].load(), spec)
        if spec.name in plugins.estimators.unlisted:
            # made once now, so that one line says what is wrong with a function
            plugins.estimators.make(spec)
    return found


def of_function(path: str, options: str) -> list[str]:
    """The estimator that runs a function, as a pattern; none if no path is given.

    Args:
        path: ``module:function`` or ``file.py:function``.
        options: those of the function and of its bridge, ``name=value`` separated by commas.

    Raises:
        UserError: there are options and no function, or they have no names.
    """
    if options and not path:
        raise UserError(f"--options are those of a --function, which is missing; got {options!r}")
    if options and "=" not in options.partition(",")[0]:
        raise UserError(f"--options are name=value, separated by commas; got {options!r}")
    return [f"{NAME}[{','.join(part for part in (f'path={path}', options) if part)}]"] if path else []


def verdicts(spec: Spec, plugins: Plugins, seed: int = 0) -> Iterator[Verdict]:
    """A verdict for each check of an estimator or a task; of both, if they have one name.

    Args:
        spec: its name and options, one of ``selected``.
        plugins: what there is.
        seed: of the statistical checks.
    """
    if spec.name in plugins.estimators:
        made = plugins.estimators[spec.name].load()
        yield from run_checks(partial(options.construct, made, spec), seed=seed)
    if spec.name in plugins.tasks.plugins:
        yield from run_task_checks(plugins.tasks.make(spec))
