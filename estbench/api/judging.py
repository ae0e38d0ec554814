"""Runs, stores and checks as functions, which raise errors with the messages of the commands."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from estbench.api import arguments
from estbench.api.comparing import STORE
from estbench.api.own import known_plugins, maker
from estbench.api.run import Run
from estbench.plugins.loading import base
from estbench.plugins.spec import Spec
from estbench.store import merge as stores
from estbench.store.run_folder import RunFolder

if TYPE_CHECKING:
    from estbench.testing.verdict import Verdict
    from estbench.tracking.gate import GateResult
    from estbench.workflows.diff import Difference


def check(plugin: Any, *, seed: int = 0, plugins: Iterable[Path | str] = ()) -> "list[Verdict]":
    """Checks whether an estimator is what it declares, or a task fulfils its contract, as ``estbench check`` does.

    Args:
        plugin: the name of an estimator or task with options, a ``Spec``, a class, an instance, or a function without
            arguments that makes one.
        seed: seed of the statistical checks.
        plugins: plugin files.

    Returns:
        A verdict for each check: its ``name``, ``verdict`` (``passed``, ``failed`` or ``not applicable``), ``measured``
        and ``reason``.

    Raises:
        UserError: there is no such plugin, or an option is unknown or has a value it cannot have.

    Example:
        >>> [verdict.verdict for verdict in check("toy[units=2]")]
        ['passed', 'passed', 'passed', 'passed']
    """
    from estbench.testing import run_checks, run_task_checks  # noqa: PLC0415  (imports torch)
    from estbench.workflows import conformance  # noqa: PLC0415  (likewise)

    if isinstance(plugin, (str, Spec)):
        known = known_plugins(arguments.several(plugins))
        found = conformance.selected([str(plugin)], known)
        return [verdict for spec in found for verdict in conformance.verdicts(spec, known, seed)]
    make = maker(plugin)
    made = make()
    return list(run_task_checks(made) if isinstance(made, base("task")) else run_checks(make, seed=seed))


def load(folder: Path | str) -> Run:
    """The run in a folder that ``estbench compare`` or ``Run.report`` wrote.

    Raises:
        UserError: the folder holds no run, or its files cannot be read.

    Example:
        >>> import tempfile
        >>> from estbench import compare
        >>> store = tempfile.mkdtemp()
        >>> what = "toy[units=2]", "exact", "training[steps=4,samples=0]", 1
        >>> run = compare(*what, store=store, executor="inline")
        >>> page = run.report(tempfile.mkdtemp())
        >>> load(page.parent).estimators
        ['exact']
    """
    place = RunFolder.of(arguments.folder("folder", folder))
    return Run(place.results(), place.info())


def merge(folders: Sequence[Path | str], into: Path | str, *, mixed_timing: bool = False) -> stores.Joined:
    """Copies the cells of several stores into one, as ``estbench merge`` does.

    Args:
        folders: the stores; one or a sequence.
        into: the store into which they are copied; it is made if it does not exist.
        mixed_timing: whether the result may hold times of different machines.

    Returns:
        The number of cells that were ``taken``, and of those that were already ``known``.

    Raises:
        UserError: a store does not exist, or times of different machines would be mixed.

    Example:
        >>> import tempfile
        >>> from estbench import compare
        >>> store = tempfile.mkdtemp()
        >>> what = "toy[units=2]", "exact", "training[steps=4,samples=0]", 1
        >>> run = compare(*what, store=store, executor="inline")
        >>> into = tempfile.mkdtemp()
        >>> merge([store], into).taken, merge([store], into).known
        (1, 1)
    """
    sides = [arguments.folder("folders", each) for each in arguments.several(folders)]
    return stores.merge(sides, arguments.folder("into", into), mixed_timing=mixed_timing)


def diff(
    before: Path | str, after: Path | str, *, store: Path | str | None = None, alpha: float = 0.05
) -> "Difference":
    """The values that differ between two runs, two stores or two commits, as ``estbench diff`` prints them.

    Args:
        before: a run's folder, a store, or a commit whose cells are in ``store``.
        after: likewise.
        store: the folder with the cells of commits; by default ``.estbench`` in the working folder.
        alpha: probability of any false alarm.

    Returns:
        The ``changes``, the most important first, their ``summary`` and the exit ``code`` of the command.

    Raises:
        UserError: a side holds no results.

    Example:
        >>> import tempfile
        >>> from estbench import compare
        >>> store = tempfile.mkdtemp()
        >>> what = "toy[units=2]", "exact", "training[steps=4,samples=0]", 1
        >>> run = compare(*what, store=store, executor="inline")
        >>> difference = diff(store, store)
        >>> difference.code, {change.verdict for change in difference.changes}
        (0, {'same'})
    """
    from estbench.workflows.diff import diff as difference  # noqa: PLC0415  (slow)

    return difference(str(before), str(after), arguments.folder("store", store, STORE), alpha)


def gate(
    base: Path | str,
    head: Path | str,
    *,
    results: Path | str | None = None,
    thresholds: Sequence[str] = (),
    alpha: float = 0.01,
    allow_missing: bool = False,
) -> "GateResult":
    """Finds regressions between two runs, files or commits, as ``estbench gate`` does.

    Regressions are distinguished from noise, missing values and failures.

    Args:
        base: the state before: a run's folder, a result file of asv, or a commit.
        head: the state after, likewise.
        results: folder of asv's results, for commits.
        thresholds: the smallest ratios that count, such as ``"1.05"`` or ``"*time*=1.2"``; one or a sequence.
        alpha: level of the tests over all values together.
        allow_missing: whether values may be missing in ``head``.

    Returns:
        The ``findings``, worst first, their ``table`` in Markdown and the exit ``code`` of the command.

    Raises:
        UserError: a side cannot be read, or no value can be compared.

    Example:
        >>> import tempfile
        >>> from estbench import compare
        >>> store = tempfile.mkdtemp()
        >>> what = "toy[units=2]", "exact", "training[steps=4,samples=0]", 1
        >>> run = compare(*what, store=store, executor="inline")
        >>> page = run.report(tempfile.mkdtemp())
        >>> gate(page.parent, page.parent).code
        0
    """
    from estbench.tracking.gate import gate as judge  # noqa: PLC0415  (slow)

    places = None if results is None else arguments.folder("results", results)
    limits = arguments.several(thresholds)
    return judge(str(base), str(head), results=places, thresholds=limits, alpha=alpha, allow_missing=allow_missing)
