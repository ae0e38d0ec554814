"""Comparisons as functions: nothing is printed unless asked, and errors are exceptions with the command's one line."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from estbench.api import arguments
from estbench.api.own import known_plugins, named
from estbench.api.progress import Bar, Silence
from estbench.api.run import Run
from estbench.errors import UserError
from estbench.plugins.registry import Plugins
from estbench.plugins.spec import Spec, split
from estbench.store.files import check_folder
from estbench.store.records import joined

if TYPE_CHECKING:
    from estbench.workflows.dry_run import Preview
    from estbench.workflows.request import Request

# a name with options, or a class or an instance of the caller's own; one or several
Wanted: TypeAlias = Any
STORE = Path(".estbench")


def compare(
    tasks: Wanted = None,
    estimators: Wanted = None,
    measures: Wanted = None,
    seeds: int | Sequence[int] | None = None,
    *,
    suite: str | Path = "quick",
    parts: int | Sequence[int] = (),
    tune: Mapping[str, Any] | Sequence[str] | None = None,
    device: str | None = None,
    dtype: str | None = None,
    scale: float | None = None,
    precision: float | None = None,
    plugins: Iterable[Path | str] = (),
    store: Path | str | None = None,
    executor: str | Spec = "auto",
    workers: int | None = None,
    threads: int | None = None,
    timeout: float | None = None,
    checkpoint: float = 60.0,
    retry_failed: bool = False,
    ensemble: int | str = "auto",
    progress: bool = False,
) -> Run:
    """Measures estimators on tasks, as ``estbench compare`` does, and returns what was found.

    What is measured is kept: the same call again takes it from the store, and after an interrupt goes on from there.

    Args:
        tasks: names, ``"vae[dataset=mnist]"``, globs and grids as on the command line; ``Spec`` objects; classes and
            instances of your own, also of a notebook's cell; or functions without arguments that make an instance. One
            or a sequence; by default the suite's.
        estimators: likewise.
        measures: likewise.
        seeds: how many, counted from 0, or which.
        suite: its values hold where nothing is said here: the name of one that is shipped, or the path of a TOML file.
        parts: which parts of a suite that has several, counted from 1; by default all.
        tune: the options that are chosen on validation before the comparison, each estimator's by itself; or a mapping
            with ``options``, ``fraction``, ``samples`` and ``metric``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        dtype: ``float32``, ``float64``, ``tf32`` or ``bf16``.
        scale: fraction of the training steps that the suite asks for.
        precision: draw gradients until the interval of their variance is that narrow, 0.05 for 5 % to either side.
        plugins: plugin files.
        store: folder that keeps finished cells; by default ``.estbench`` in the working folder.
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
    given = {name: value for name, value in locals().items() if name != "progress"}
    from estbench.workflows.comparison import measure_comparison  # noqa: PLC0415  (imports torch)

    request, found = _request(given)
    check_folder(request.store)
    done = measure_comparison(request, found, Bar() if progress else Silence())
    if done.interrupted:
        raise KeyboardInterrupt("interrupted; what was measured is kept: the same call goes on from here")
    return Run(joined(done.results.values()), done.info)


def plan(
    tasks: Wanted = None,
    estimators: Wanted = None,
    measures: Wanted = None,
    seeds: int | Sequence[int] | None = None,
    *,
    suite: str | Path = "quick",
    parts: int | Sequence[int] = (),
    tune: Mapping[str, Any] | Sequence[str] | None = None,
    device: str | None = None,
    dtype: str | None = None,
    scale: float | None = None,
    precision: float | None = None,
    plugins: Iterable[Path | str] = (),
    store: Path | str | None = None,
    executor: str | Spec = "auto",
    workers: int | None = None,
    threads: int | None = None,
    timeout: float | None = None,
    checkpoint: float = 60.0,
    retry_failed: bool = False,
    ensemble: int | str = "auto",
) -> "Preview":
    """What ``compare`` would measure, what of it is kept already, and how long the rest may take.

    Args:
        tasks: this and the others are those of ``compare``.
        estimators: see ``compare``.
        measures: see ``compare``.
        seeds: see ``compare``.
        suite: see ``compare``.
        parts: see ``compare``.
        tune: see ``compare``.
        device: see ``compare``.
        dtype: see ``compare``.
        scale: see ``compare``.
        precision: see ``compare``.
        plugins: see ``compare``.
        store: see ``compare``.
        executor: see ``compare``.
        workers: see ``compare``.
        threads: see ``compare``.
        timeout: see ``compare``.
        checkpoint: see ``compare``.
        retry_failed: see ``compare``.
        ensemble: see ``compare``.

    Returns:
        What would be done with each cell, its ``states``, and a ``summary`` in a sentence or two.

    Raises:
        UserError: what is asked for cannot be done.

    Example:
        >>> plan("toy", "rloo,disarm", "training[steps=10]", 3).summary.partition(".")[0]
        '6 cells, 0 of them kept'
    """
    given = dict(locals())
    from estbench.workflows.dry_run import preview  # noqa: PLC0415  (imports torch)

    return preview(*_request(given))


def _request(given: Mapping[str, Any]) -> tuple["Request", Plugins]:
    """The request of the command, and what there is, the caller's own classes among it.

    Args:
        given: the arguments of ``compare`` or ``plan``, by name.

    Raises:
        UserError: an argument is not what it must be.
    """
    from estbench.workflows.request import Request  # noqa: PLC0415  (imports torch)

    store = arguments.folder("store", given["store"], STORE)
    overrides, found = _overrides(given, store / "own")
    ensemble = given["ensemble"]
    how = {
        "parts": tuple(arguments.whole_number("parts", each) for each in arguments.several(given["parts"])),
        "executor": arguments.spec("executor", given["executor"]),
        "workers": arguments.finite_number("workers", given["workers"], least=1, whole=True),
        "threads": arguments.finite_number("threads", given["threads"], least=1, whole=True),
        "timeout": arguments.finite_number("timeout", given["timeout"], least=0.001),
        "checkpoint": arguments.finite_number("checkpoint", given["checkpoint"]),
        "ensemble": ensemble if isinstance(ensemble, str) else str(arguments.whole_number("ensemble", ensemble)),
        "retry_failed": bool(given["retry_failed"]),
    }
    return Request(str(given["suite"]), overrides, store=store, command="estbench.compare(...)", **how), found


def _overrides(given: Mapping[str, Any], own: Path) -> tuple[Mapping[str, Any], Plugins]:
    """The values of the suite that are replaced, and what there is."""
    files: list[Path | str] = arguments.several(given["plugins"])
    known = known_plugins(files)
    overrides: dict[str, Any] = {
        key: read(given[key]) for key, read in arguments.SINGLE.items() if given[key] is not None
    }
    more: dict[Path, str] = {}
    for key in ("tasks", "estimators", "measures"):
        if given[key] is not None:
            overrides[key], found = _patterns(key, given[key], known, own)
            more |= found
    names = list(more.values())
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"several of your classes would be called {name}; rename them")
    return overrides, known_plugins([*files, *more]) if more else known


def _patterns(key: str, value: Wanted, plugins: Plugins, own: Path) -> tuple[list[str], dict[Path, str]]:
    """What a request may name, and the files that hold the caller's own, with the names that those have."""
    patterns: list[str] = []
    files: dict[Path, str] = {}
    for each in arguments.several(value):
        if isinstance(each, str):
            patterns += split(each)
        elif isinstance(each, Spec):
            patterns.append(str(each))
        else:
            found = named(each, key.removesuffix("s"), plugins, own)
            patterns.append(str(found.spec))
            if found.file:
                files[found.file] = found.spec.name
    return patterns, files
