"""The store, looked after: what is in it, whether it is sound, what can go."""

import datetime as dt
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from estbench.errors import DamagedError, UserError
from estbench.store.checkpoints import unpack
from estbench.store.records import Result
from estbench.store.store import Store, read

# a file that somebody is writing may be this old
_WRITING = 3600.0


@dataclass(frozen=True)
class Contents:
    """What is in a store.

    Args:
        lines: for each cell what it is, its budget, status, seconds, when it was finished, and its size.
        total: all in one line.
    """

    lines: list[tuple[str, ...]]
    total: str


@dataclass(frozen=True)
class Removed:
    """What was removed.

    Args:
        files: how many.
        size: bytes.
    """

    files: int
    size: int


def contents(folder: Path) -> Contents:
    """What is in a store.

    Raises:
        UserError: there is none.
    """
    store = _open(folder)
    lines = [_line(path, result) for path in store.files() if (result := store.load(path)) is not None]
    states = list(store.states())
    others = [*store.older(), *store.unfinished(), *_foreign(store), *_aside(store)]
    parts = [
        f"{len(lines)} cells ({_mebibytes(store.files())})",
        f"{len(states)} checkpoints ({_mebibytes(states)})",
        f"{len(others)} files that no run uses ({_mebibytes(others)}; estbench cache prune removes them)",
    ]
    return Contents(lines, ", ".join(parts))


def _line(path: Path, result: Result) -> tuple[str, ...]:
    cell, about = result.about["cell"], result.about
    estimators = cell["estimators"]
    who = estimators[0] if len(estimators) == 1 else f"{len(estimators)} estimators"
    statuses = set(result.table["status"].to_pylist())
    status = next((status for status in ("failed", "not applicable") if status in statuses), "ok")
    return (
        f"{cell['measure']} of {who} on {cell['task']}, seed {cell['seed']}",
        ", ".join(f"{name}={value}" for name, value in cell["budget"].items()),
        status,
        f"{about['seconds']:.1f}",
        f"{dt.datetime.fromtimestamp(about['finished'], dt.UTC).astimezone():%Y-%m-%d %H:%M}",
        str(path.stat().st_size),
    )


def verify(folder: Path) -> tuple[int, int]:
    """Reads every file and sets the damaged ones aside; how many were damaged and how many are sound.

    Raises:
        UserError: there is no store.
    """
    store = _open(folder)
    damaged = sound = 0
    checks: list[tuple[Path, Callable[[Path], object]]] = [(path, read) for path in store.files()]
    checks += [(path, lambda path: unpack(path.read_bytes())) for path in store.states()]
    for path, check in checks:
        try:
            check(path)
            sound += 1
        except DamagedError as error:
            store.set_aside(path, str(error))
            damaged += 1
        except FileNotFoundError:  # somebody went on from it meanwhile
            pass
    return damaged, sound


def prune(
    folder: Path, *, failed: bool = False, checkpoints: bool = False, days: float | None = None, dry_run: bool = False
) -> Removed:
    """Removes what no run can use.

    Args:
        folder: the store.
        failed: remove failed cells too.
        checkpoints: remove all checkpoints too: killed runs start again, and longer ones too.
        days: remove what was written longer ago too.
        dry_run: only count.

    Raises:
        UserError: there is no store, or it cannot be written.
    """
    store, now = _open(folder), time.time()
    kept = [*store.files(), *store.states()]
    waste = {*store.older(), *_foreign(store), *_aside(store)}
    waste |= {path for path in store.unfinished() if now - path.stat().st_mtime > _WRITING}
    if failed:
        waste |= {path for path in store.files() if (result := store.load(path)) is not None and result.failures}
    if checkpoints:
        waste |= set(store.states())
    if days is not None:
        waste |= {path for path in kept if now - path.stat().st_mtime > days * 86400}
    removed = Removed(len(waste), sum(path.stat().st_size for path in waste))
    for path in () if dry_run else waste:
        _remove(path)
    return removed


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
        if path.suffix == ".pt" and not any(path.parent.iterdir()):
            path.parent.rmdir()
    except OSError as error:
        raise UserError(f"cannot remove {path}: {error.strerror}") from error


def _open(folder: Path) -> Store:
    if not folder.is_dir():
        raise UserError(f"there is no store in {folder}")
    return Store(folder)


def _foreign(store: Store) -> Iterator[Path]:
    """Cells of other versions."""
    for path in store.files():
        try:
            if read(path) is None:
                yield path
        except DamagedError:
            pass


def _aside(store: Store) -> list[Path]:
    return sorted((store.folder / "damaged").glob("*"))


def _mebibytes(paths: Iterator[Path] | list[Path]) -> str:
    return f"{sum(path.stat().st_size for path in paths) / 2**20:.1f} MiB"
