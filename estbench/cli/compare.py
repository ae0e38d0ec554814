"""The commands ``compare``, which measures, and ``plan``, which says what would be measured."""

import inspect
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from estbench.cli import completion
from estbench.cli.screen import Files, console, found
from estbench.errors import UserError, plain
from estbench.plugins.grammar import shown
from estbench.plugins.registry import Plugins
from estbench.plugins.spec import Spec, split
from estbench.store.files import check_folder

if TYPE_CHECKING:
    from estbench.workflows.request import Request

Tasks = Annotated[
    list[str] | None,
    typer.Option(
        help="Tasks, comma-separated; globs and vae\\[dataset=mnist] work.", autocompletion=completion.plugins("task")
    ),
]
Estimators = Annotated[
    list[str] | None,
    typer.Option(
        help="Estimators, comma-separated; globs work, and rloo\\[samples=2,4] is a grid.",
        autocompletion=completion.plugins("estimator"),
    ),
]
Measures = Annotated[
    list[str] | None,
    typer.Option(
        help="Measures, comma-separated: gradient, speed, training\\[steps=1000].",
        autocompletion=completion.plugins("measure"),
    ),
]
Seeds = Annotated[str | None, typer.Option(help="Number of seeds, counted from 0; or a list of seeds: 3,5,8.")]
Device = Annotated[
    str | None,
    typer.Option(help="auto, cpu, cuda or cuda:1.", autocompletion=completion.choices("auto", "cpu", "cuda")),
]
DType = Annotated[
    str | None,
    typer.Option(
        help="float32, float64, tf32 or bf16; the last two are float32 with tf32 (GPU) or bf16 products.",
        autocompletion=completion.choices("float32", "float64", "tf32", "bf16"),
    ),
]
Scale = Annotated[float | None, typer.Option(help="Fraction of the suite's training steps to run: 0.1 for a tenth.")]
Precision = Annotated[
    float | None,
    typer.Option(
        help="Draw gradients until the interval of their variance has this relative half-width: 0.05 is ±5 %."
    ),
]
Parts = Annotated[str | None, typer.Option(help="Parts of the suite to run, if it has several: 1,3; by default all.")]
StoreFolder = Annotated[Path, typer.Option(help="Folder that keeps finished cells.", envvar="ESTBENCH_STORE")]
Workers = Annotated[
    int | None, typer.Option(min=1, max=4096, help="Number of cells measured at once; by default one per core.")
]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Measure failed cells again.")]
ExecutorName = Annotated[
    str,
    typer.Option(
        help="As estbench list executors names them; auto: local on several cores or GPUs, else inline.",
        autocompletion=completion.parts("executor", "auto"),
    ),
]
Ensemble = Annotated[
    str,
    typer.Option(
        help="Train runs that differ only in seeds or float options as one batch: auto, off, or the largest batch.",
        autocompletion=completion.choices("auto", "off"),
    ),
]
SuiteName = Annotated[
    str | None,
    typer.Argument(
        help="A .toml file, or the name of a suite shipped with estbench; by default quick.",
        autocompletion=completion.suites,
    ),
]
SuiteOption = Annotated[
    str | None, typer.Option("--suite", help="The suite, as an option.", autocompletion=completion.suites)
]
Out = Annotated[Path | None, typer.Option(help="Folder for the report; by default runs/DATE-TIME.")]
Threads = Annotated[
    int | None, typer.Option(min=1, max=1024, help="Threads of torch; by default 1, and all cores for timed cells.")
]

STORE = Path(".estbench")
# three years in seconds; timers of the system overflow at some multiple of it
LONGEST = 1e8

Timeout = Annotated[
    float | None, typer.Option(min=0.001, max=LONGEST, help="Seconds after which a cell counts as failed.")
]
Checkpoint = Annotated[
    float, typer.Option(min=0, max=LONGEST, help="Seconds between two checkpoints of a training run.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only print what would be measured, as plan does.")]


@dataclass(frozen=True)
class _Asked:
    """What a command line asks for.

    Args:
        request: the request.
        plugins: what there is.
        dry_run: whether it is only to be printed.
    """

    request: "Request"
    plugins: Plugins
    dry_run: bool


def _asked(
    suite: SuiteName = None,
    tasks: Tasks = None,
    estimators: Estimators = None,
    measures: Measures = None,
    seeds: Seeds = None,
    device: Device = None,
    dtype: DType = None,
    scale: Scale = None,
    precision: Precision = None,
    suite_option: SuiteOption = None,
    parts: Parts = None,
    out: Out = None,
    store: StoreFolder = STORE,
    threads: Threads = None,
    executor: ExecutorName = "auto",
    workers: Workers = None,
    timeout: Timeout = None,
    checkpoint: Checkpoint = 60,
    retry_failed: RetryFailed = False,
    ensemble: Ensemble = "auto",
    dry_run: DryRun = False,
    plugin: Files = None,
) -> _Asked:
    """Reads what plan and compare take."""
    from estbench.workflows.request import Request  # noqa: PLC0415  (imports torch)

    if suite is not None and suite_option is not None and suite != suite_option:
        raise UserError(f"name one suite; got {shown(suite)} and --suite {shown(suite_option)}")
    request = Request(
        suite or suite_option or "quick",
        _overrides(tasks, estimators, measures, seeds, device, dtype, scale, precision),
        _parts(parts),
        out,
        store,
        threads,
        Spec.one(executor),
        workers,
        timeout,
        checkpoint,
        retry_failed,
        ensemble,
        console().width,
        shlex.join(["estbench", *sys.argv[1:]]),
    )
    return _Asked(request, found(plugin, timeout), dry_run)


def _command(work: Callable[[_Asked], None]) -> Callable[..., None]:
    """A command with the parameters of ``_asked``: plan and compare take the same."""

    def command(**given: Any) -> None:
        work(_asked(**given))

    command.__name__, command.__doc__ = work.__name__, work.__doc__
    command.__annotations__ = {**_asked.__annotations__, "return": None}
    signature = inspect.signature(_asked).replace(return_annotation=None)
    command.__signature__ = signature  # type: ignore[attr-defined]  # what inspect.signature gives for it
    return command


@_command
def compare(asked: _Asked) -> None:
    """Measures estimators on tasks and writes a report.

    Options replace the values of the suite. Finished cells are kept: the same command, given again, continues where it
    stopped, and with more steps or replicates it continues from the kept ones.
    """
    from estbench.cli.progress import Progress  # noqa: PLC0415  (imports torch)
    from estbench.workflows.comparison import run_comparison  # noqa: PLC0415  (imports torch)

    for place in (asked.request.out or Path("runs"), asked.request.store):
        check_folder(place)
    if asked.dry_run:
        _preview(asked.request, asked.plugins)
        return
    progress = Progress(console())
    raise typer.Exit(progress.finished(run_comparison(asked.request, asked.plugins, progress)))


@_command
def plan(asked: _Asked) -> None:
    """Prints the cells of a suite, which of them are already kept, and an estimate of the time for the others."""
    _preview(asked.request, asked.plugins)


def _preview(request: "Request", plugins: Plugins) -> None:
    """Prints what a request would measure."""
    from estbench.workflows.dry_run import preview  # noqa: PLC0415  (imports torch)

    cells, screen = preview(request, plugins), console()
    for cell, state in cells.states.items():
        # plain lines: there may be 100,000 cells, and rich takes ten times as long
        screen.file.write(f"{state:<9} {plain(cell)}\n")
    screen.print(cells.summary)


def _overrides(
    tasks: list[str] | None,
    estimators: list[str] | None,
    measures: list[str] | None,
    seeds: str | None,
    device: str | None,
    dtype: str | None,
    scale: float | None,
    precision: float | None,
) -> Mapping[str, Any]:
    """The values of the suite that the command line replaces."""
    overrides: dict[str, Any] = {
        key: [part for text in texts for part in split(text)]
        for key, texts in (("tasks", tasks), ("estimators", estimators), ("measures", measures))
        if texts
    }
    single = {"device": device, "dtype": dtype, "scale": scale, "precision": precision}
    overrides |= {key: value for key, value in single.items() if value is not None}
    if seeds is not None:
        overrides["seeds"] = _seeds(seeds)
    return overrides


def _parts(text: str | None) -> tuple[int, ...]:
    return () if text is None else tuple(_numbers("--parts", text))


def _numbers(option: str, text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        numbers = []
    if not numbers:
        raise UserError(f"{option} takes a number, or numbers separated by commas; got {shown(text)}")
    return numbers


def _seeds(text: str) -> int | list[int]:
    numbers = _numbers("--seeds", text)
    return numbers[0] if len(numbers) == 1 and "," not in text else numbers
