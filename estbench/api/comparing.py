"""Comparisons as functions, which print nothing by default and raise errors with the messages of the commands."""

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
    """Measures estimators on tasks, as ``estbench compare`` does, and returns the results.

    Results are kept in a store. The same call takes them from there, and continues after an interrupt.

    Args:
        tasks: names such as ``"vae[dataset=mnist]"``, globs and grids as on the command line; ``Spec`` objects; your
            own classes and instances, which may be defined in a notebook; or functions without arguments that make an
            instance. One of these or a sequence; by default the tasks of the suite.
        estimators: likewise.
        measures: likewise.
        seeds: the number of seeds, counted from 0, or a list of seeds.
        suite: the suite whose values are the defaults: the name of a suite of estbench, or the path of a TOML file.
        parts: the parts of a suite to run, if it has several, counted from 1; by default all.
        tune: the options that are chosen on validation data before the comparison, for each estimator separately; or a
            mapping with ``options``, ``fraction``, ``samples`` and ``metric``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        dtype: ``float32``, ``float64``, ``tf32`` or ``bf16``.
        scale: fraction of the training steps that the suite asks for.
        precision: draw gradients until the relative half-width of the interval of their variance is at most this; 0.05
            means 5 % to either side.
        plugins: plugin files.
        store: folder that keeps finished cells; by default ``.estbench`` in the working folder.
        executor: where cells are measured: ``auto``, ``inline``, ``local``, ``ray`` or ``slurm``, with options.
        workers: number of cells that are measured at once; by default one per core.
        threads: number of torch threads; by default 1, and all threads for cells that measure time.
        timeout: seconds after which a cell counts as failed.
        checkpoint: seconds between two checkpoints of a training.
        retry_failed: whether to measure failed cells again.
        ensemble: train runs that differ only in seeds or float options as one batch: ``auto``, ``off``, or the largest
            batch.
        progress: whether to show a progress bar, which in a notebook is a widget.

    Returns:
        The run; failed cells are rows of it, with their reasons.

    Raises:
        UserError: the request is invalid; the message is that of the command line.
        KeyboardInterrupt: the comparison was interrupted; finished cells are kept.

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
        raise KeyboardInterrupt("interrupted; what was measured is kept, and the same call continues from here")
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
    """Says which cells ``compare`` would measure, which of them are kept, and how long the others may take.

    All arguments are those of ``compare``.

    Returns:
        The ``states`` of the cells, which say what would be done with each, and a ``summary`` in a sentence or two.

    Raises:
        UserError: the request is invalid.

    Example:
        >>> plan("toy", "rloo,disarm", "training[steps=10]", 3).summary.partition(".")[0]
        '6 cells, 0 of them kept'
    """
    given = dict(locals())
    from estbench.workflows.dry_run import preview  # noqa: PLC0415  (imports torch)

    return preview(*_request(given))


def _request(given: Mapping[str, Any]) -> tuple["Request", Plugins]:
    """The request, and the plugins that exist, including the caller's own classes.

    Args:
        given: the arguments of ``compare`` or ``plan``, by name.

    Raises:
        UserError: an argument is invalid.
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
    """The values of the suite that are replaced, and the plugins that exist."""
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
    """The patterns of a request, and the files of the caller's own classes with the names of these."""
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
