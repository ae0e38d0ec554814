"""The commands as functions: nothing is printed unless asked, and errors are exceptions with the command's one line."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from estbench.api.asked import STORE, Wanted, asked, found_plugins, spec_of
from estbench.api.progress import Bar, Silence
from estbench.api.run import Run
from estbench.plugins import options
from estbench.plugins.spec import Spec
from estbench.store import merge as stores
from estbench.store.records import joined
from estbench.store.run_folder import RunFolder

if TYPE_CHECKING:
    from estbench.testing.verdict import Verdict
    from estbench.tracking.gate import Outcome
    from estbench.workflows.diff import Difference
    from estbench.workflows.dry_run import Preview


def compare(
    tasks: Wanted = None,
    estimators: Wanted = None,
    measures: Wanted = None,
    seeds: int | Sequence[int] | None = None,
    *,
    suite: str | Path = "quick",
    tune: Mapping[str, Any] | Sequence[str] | None = None,
    device: str | None = None,
    dtype: str | None = None,
    scale: float | None = None,
    precision: float | None = None,
    plugins: Iterable[Path | str] = (),
    store: Path | str = STORE,
    executor: str | Spec = "auto",
    workers: int | None = None,
    threads: int | None = None,
    timeout: float | None = None,
    checkpoint: float = 60.0,
    retry_failed: bool = False,
    ensemble: str = "auto",
    progress: bool = False,
) -> Run:
    """Measures estimators on tasks, as ``estbench compare`` does, and returns what was found.

    What is measured is kept: the same call again takes it from the store, and after an interrupt goes on from there.

    Args:
        tasks: names, ``"vae[dataset=mnist]"``, globs and grids as on the command line; ``Spec`` objects; or classes and
            instances of your own, also of a notebook's cell. One or a sequence; by default the suite's.
        estimators: likewise.
        measures: likewise.
        seeds: how many, counted from 0, or which.
        suite: its values hold where nothing is said here: the name of one that is shipped, or the path of a TOML file.
        tune: the options that are chosen on validation before the comparison, each estimator's by itself; or a mapping
            with ``options``, ``fraction``, ``samples`` and ``metric``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        dtype: ``float32``, ``float64``, ``tf32`` or ``bf16``.
        scale: fraction of the training steps that the suite asks for.
        precision: draw gradients until the interval of their variance is that narrow, 0.05 for 5 % to either side.
        plugins: plugin files.
        store: folder that keeps finished cells.
        executor: where cells are measured: ``auto``, ``inline``, ``local``, ``ray`` or ``slurm``, with options.
        workers: cells at once; by default one a core.
        threads: of torch; by default 1, and all for what is timed.
        timeout: seconds after which a cell has failed.
        checkpoint: seconds from one checkpoint of a training to the next.
        retry_failed: whether to measure cells again that failed.
        ensemble: train runs that differ only in seeds or float options as one batch: ``auto``, ``off``, or the largest
            batch.
        progress: whether to show a bar, in a notebook as its widget.

    Returns:
        The run; cells that failed are rows of it, with their reasons.

    Raises:
        UserError: what is asked for cannot be done; the message is the one of the command line.
        KeyboardInterrupt: it was interrupted; what was measured is kept.

    Example:
        >>> import tempfile
        >>> run = compare(
        ...     "toy[units=2]", "rloo,exact", "gradient[replicates=256,after=0]", 1,
        ...     store=tempfile.mkdtemp(), executor="inline",
        ... )
        >>> run.tasks
        ['toy[units=2]']
    """
    from estbench.workflows.comparison import measure_comparison  # noqa: PLC0415  (imports torch)

    given = {"tasks": tasks, "estimators": estimators, "measures": measures, "seeds": seeds, "tune": tune}
    given |= {"device": device, "dtype": dtype, "scale": scale, "precision": precision}
    wanted = asked(given, suite, plugins, Path(store))
    request = wanted.request(
        executor=spec_of(executor),
        workers=workers,
        threads=threads,
        timeout=timeout,
        checkpoint=checkpoint,
        retry_failed=retry_failed,
        ensemble=str(ensemble),
    )
    found = measure_comparison(request, wanted.plugins, Bar() if progress else Silence())
    if found.interrupted:
        raise KeyboardInterrupt("interrupted; what was measured is kept: the same call goes on from here")
    return Run(joined(found.results.values()), found.info)


def plan(
    tasks: Wanted = None,
    estimators: Wanted = None,
    measures: Wanted = None,
    seeds: int | Sequence[int] | None = None,
    *,
    suite: str | Path = "quick",
    tune: Mapping[str, Any] | Sequence[str] | None = None,
    device: str | None = None,
    dtype: str | None = None,
    scale: float | None = None,
    precision: float | None = None,
    plugins: Iterable[Path | str] = (),
    store: Path | str = STORE,
    executor: str | Spec = "auto",
    workers: int | None = None,
    retry_failed: bool = False,
) -> "Preview":
    """What ``compare`` would measure, what of it is kept already, and how long the rest may take.

    Args:
        tasks: this and the others are those of ``compare``.
        estimators: see ``compare``.
        measures: see ``compare``.
        seeds: see ``compare``.
        suite: see ``compare``.
        tune: see ``compare``.
        device: see ``compare``.
        dtype: see ``compare``.
        scale: see ``compare``.
        precision: see ``compare``.
        plugins: see ``compare``.
        store: see ``compare``.
        executor: see ``compare``.
        workers: see ``compare``.
        retry_failed: see ``compare``.

    Raises:
        UserError: what is asked for cannot be done.

    Example:
        >>> plan("toy", "rloo,disarm", "training[steps=10]", 3).summary.partition(".")[0]
        '6 cells, 0 of them kept'
    """
    from estbench.workflows.dry_run import preview  # noqa: PLC0415  (imports torch)

    given = {"tasks": tasks, "estimators": estimators, "measures": measures, "seeds": seeds, "tune": tune}
    given |= {"device": device, "dtype": dtype, "scale": scale, "precision": precision}
    wanted = asked(given, suite, plugins, Path(store))
    request = wanted.request(executor=spec_of(executor), workers=workers, retry_failed=retry_failed)
    return preview(request, wanted.plugins)


def check(estimator: Any, *, seed: int = 0, plugins: Iterable[Path | str] = ()) -> "list[Verdict]":
    """Checks that an estimator is what it declares, as ``estbench check`` does.

    Args:
        estimator: its name with options, a ``Spec``, a class, or a function without arguments that makes it.
        seed: of the statistical checks.
        plugins: plugin files.

    Returns:
        A verdict for each check: its ``name``, ``verdict`` (``passed``, ``failed`` or ``not applicable``), ``measured``
        and ``reason``.

    Raises:
        UserError: there is no such estimator, or an option is unknown or has a value it cannot have.
    """
    from estbench.testing import run_checks  # noqa: PLC0415  (imports torch)

    if not isinstance(estimator, (str, Spec)):
        return list(run_checks(estimator, seed=seed))
    spec = Spec.one(estimator) if isinstance(estimator, str) else estimator
    made = found_plugins(plugins).estimators[spec.name].load()
    options.check(made, spec)
    return list(run_checks(partial(options.make, made, spec), seed=seed))


def load(folder: Path | str) -> Run:
    """The run in a folder that ``estbench compare`` or ``Run.report`` wrote.

    Raises:
        UserError: the folder holds no run, or its files cannot be read.
    """
    place = RunFolder.of(Path(folder))
    return Run(place.results(), place.info())


def merge(folders: Sequence[Path | str], into: Path | str, *, mixed_timing: bool = False) -> stores.Joined:
    """Takes the cells of several stores into one, as ``estbench merge`` does.

    Args:
        folders: the stores.
        into: the store that takes them in; made if it is not there.
        mixed_timing: whether times of different machines may stand side by side.

    Returns:
        How many cells were ``taken``, and how many were ``known``.

    Raises:
        UserError: a store is not there, or times of different machines would be mixed.
    """
    return stores.merge([Path(folder) for folder in folders], Path(into), mixed_timing=mixed_timing)


def diff(before: Path | str, after: Path | str, *, store: Path | str = STORE, alpha: float = 0.05) -> "Difference":
    """Which values differ between two runs, two stores or two commits, as ``estbench diff`` tells.

    Args:
        before: a run's folder, a store, or a commit whose cells are in ``store``.
        after: likewise.
        store: where the cells of commits are.
        alpha: probability of any false alarm.

    Returns:
        The ``changes``, the weightiest first, their ``summary`` and the exit ``code`` of the command.

    Raises:
        UserError: a side holds no results.
    """
    from estbench.workflows.diff import diff as difference  # noqa: PLC0415  (slow)

    return difference(str(before), str(after), Path(store), alpha)


def gate(
    base: Path | str,
    head: Path | str,
    *,
    results: Path | str | None = None,
    thresholds: Sequence[str] = (),
    alpha: float = 0.01,
    allow_missing: bool = False,
) -> "Outcome":
    """Tells regressions from noise, gaps and failures, as ``estbench gate`` does.

    Args:
        base: before; a run's folder, a result file of asv, or a commit.
        head: after.
        results: folder of asv's results, for commits.
        thresholds: least ratios that count, ``"1.05"`` or ``"*time*=1.2"``.
        alpha: level of the tests, over all values.
        allow_missing: whether values may be missing in ``head``.

    Returns:
        The ``findings``, worst first, their ``table`` in Markdown and the exit ``code`` of the command.

    Raises:
        UserError: a side cannot be read, or no value can be compared.
    """
    from estbench.tracking.gate import gate as judge  # noqa: PLC0415  (slow)

    folder = None if results is None else Path(results)
    return judge(str(base), str(head), results=folder, thresholds=thresholds, alpha=alpha, allow_missing=allow_missing)
