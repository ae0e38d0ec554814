"""The commands ``track``, which writes results for asv, and ``gate``, which finds regressions."""

import functools
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from estbench.cli.screen import console
from estbench.errors import UserError


def track(
    run: Annotated[Path | None, typer.Argument(help="Folder of a run: the --out of compare.")] = None,
    init: Annotated[bool, typer.Option("--init", help="Write asv's configuration into this folder instead.")] = False,
    results: Annotated[
        Path | None, typer.Option(help="Folder of asv's results; by default that of asv.conf.json.")
    ] = None,
    machine: Annotated[str | None, typer.Option(help="Name of the machine in asv's results.")] = None,
    allow_dirty: Annotated[bool, typer.Option("--allow-dirty", help="Accept a run with uncommitted changes.")] = False,
) -> None:
    """Writes the results of a run in asv's format, so that asv can follow them from commit to commit."""
    from estbench.tracking.init import IGNORED  # noqa: PLC0415  (only here)
    from estbench.tracking.init import init as write_configuration  # noqa: PLC0415
    from estbench.tracking.write import track as write_results  # noqa: PLC0415

    if init == (run is not None):
        raise UserError("estbench track takes the folder of a run, or --init")
    if run is None:
        for path in write_configuration(Path()):
            console().print(f"Wrote {escape(str(path))}")
        console().print(f"Keep out of git (.gitignore): {' '.join(IGNORED)}")
        return
    tracked = write_results(run, results, machine=machine, allow_dirty=allow_dirty)
    for note in tracked.notes:
        console().print(escape(str(note)))
    console().print(f"{tracked.count} values: {escape(str(tracked.path))}")


Repeat = Annotated[
    int,
    typer.Option(
        min=0, max=1000, help="For two commits: measure times that got worse again with asv, this many times each."
    ),
]


def gate(
    base: Annotated[str, typer.Argument(help="A run's folder, a result file of asv, or a commit.")],
    head: Annotated[str, typer.Argument(help="A run's folder, a result file of asv, or a commit.")],
    results: Annotated[Path | None, typer.Option(help="Folder of asv's results, for commits.")] = None,
    threshold: Annotated[list[str] | None, typer.Option(help="Ratio that counts: 1.05, or *time*=1.2.")] = None,
    alpha: Annotated[float, typer.Option(min=0, max=1, help="Level of the tests, over all values.")] = 0.01,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Accept values that are missing in HEAD.")
    ] = False,
    repeat: Repeat = 0,
) -> None:
    """Finds regressions between two sides; exits with 1 on a regression, 3 if something failed or is missing."""
    from estbench.tracking import remeasure  # noqa: PLC0415  (only here)
    from estbench.tracking.gate import gate as judge  # noqa: PLC0415  (only here)

    if repeat:
        remeasure.check_repeatable(base, head, repeat)
    found = judge(
        base,
        head,
        results=results,
        thresholds=tuple(threshold or ()),
        alpha=alpha,
        allow_missing=allow_missing,
        again=functools.partial(remeasure.measure, base=base, head=head, times=repeat) if repeat else None,
    )
    print(found.table)  # noqa: T201
    raise typer.Exit(found.code)


def history(
    results: Annotated[
        Path | None, typer.Option(help="Folder of asv's results; by default that of asv.conf.json.")
    ] = None,
    since: Annotated[
        str, typer.Option(help="Judge changes after this commit or tag; by default after the last tag.")
    ] = "",
    benchmarks: Annotated[str, typer.Option(help="Pattern of the benchmarks to look at: '*variance*'.")] = "*",
    threshold: Annotated[list[str] | None, typer.Option(help="Ratio that counts: 1.05, or *time*=1.2.")] = None,
    alpha: Annotated[float, typer.Option(min=0, max=1, help="Level of the tests, over all values.")] = 0.01,
    out: Annotated[
        Path | None, typer.Option(help="Also write a file: .html (a page with curves), .md or .json.")
    ] = None,
) -> None:
    """Finds steps and slow drifts over many commits; exits with 1 if anything got worse."""
    from estbench.tracking import history_pages  # noqa: PLC0415  (only here)
    from estbench.tracking.history import as_json  # noqa: PLC0415
    from estbench.tracking.history import history as judge  # noqa: PLC0415

    writers = {".html": history_pages.page, ".md": history_pages.markdown, ".json": as_json}
    if out is not None and out.suffix not in writers:
        raise UserError(f"--out takes a file that ends in {', '.join(writers)}; got {str(out)!r}")
    if results is None:
        from estbench.tracking.write import results_folder  # noqa: PLC0415  (needs asv; --results does not)

        results = results_folder(Path())
    found = judge(results, since=since, only=benchmarks, thresholds=tuple(threshold or ()), alpha=alpha)
    print(history_pages.markdown(found), end="")  # noqa: T201
    if out is not None:
        out.write_text(writers[out.suffix](found), encoding="utf-8")
    raise typer.Exit(found.code)
