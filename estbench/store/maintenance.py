"""Maintenance of a store: lists, verifies and prunes its files."""

import contextlib
import datetime as dt
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from estbench.errors import DamagedError, UserError, listed, plain, shorten
from estbench.store.cell_file import FORMAT, read, read_about
from estbench.store.files import read_whole
from estbench.store.store import Store

# a file that a process is still writing may be this old, in seconds
_WRITING = 3600.0
# names of cells as earlier versions wrote them, without and with the version
_NAME = re.compile(r"[0-9a-f]{32}(-.*?)?(?:\.v(\d+))?\.parquet")


@dataclass(frozen=True)
class Contents:
    """A listing of a store.

    Args:
        lines: for each cell what it is, its budget, status, seconds, when it was finished, and its size.
        total: all in one line.
    """

    lines: list[tuple[str, ...]]
    total: str


@dataclass(frozen=True)
class Removed:
    """The removed files.

    Args:
        files: how many.
        size: bytes.
    """

    files: int
    size: int


def contents(folder: Path) -> Contents:
    """Lists the content of a store, and moves damaged files away.

    Raises:
        UserError: there is none.
    """
    store = _open(folder)
    lines, size = list[tuple[str, ...]](), 0
    for path, about in _sound(store, store.files(), read_about):
        lines.append(_line(path, about))
        size += _size(path)
    states = list(store.states())
    others = [*_outdated(store), *store.unfinished(), *_aside(store)]
    parts = [
        f"{len(lines)} cells ({size / 2**20:.1f} MiB)",
        f"{len(states)} checkpoints ({_mebibytes(states)})",
        f"{len(others)} files that no run uses ({_mebibytes(others)}; estbench cache prune removes them)",
    ]
    if strange := _strange(store):
        parts.append(f"{len(strange)} of newer versions or of somebody else, which are left alone: {_named(strange)}")
    return Contents(lines, ", ".join(parts))


def _line(path: Path, about: Mapping[str, Any]) -> tuple[str, ...]:
    cell = about["cell"]
    estimators = cell["estimators"]
    who = estimators[0] if len(estimators) == 1 else f"{len(estimators)} estimators"
    return (
        f"{cell['measure']} of {who} on {cell['task']}, seed {cell['seed']}",
        ", ".join(f"{name}={value}" for name, value in cell["budget"].items()),
        about["status"],
        f"{about['seconds']:.1f}",
        f"{dt.datetime.fromtimestamp(about['finished'], dt.UTC).astimezone():%Y-%m-%d %H:%M}",
        str(_size(path)),
    )


def verify(folder: Path) -> tuple[int, int]:
    """Reads every file and sets the damaged ones aside; how many were damaged and how many are sound.

    Raises:
        UserError: there is no store.
    """
    from estbench.store.checkpoints import unpack  # noqa: PLC0415  (imports torch, which lists do without)

    store = _open(folder)
    if strange := _strange(store):
        store.say(f"{store.cells} holds what is no cell of this version and is left alone: {_named(strange)}")
    files, states = list(store.files()), list(store.states())
    # counted one by one: a store may hold more than fits into memory
    sound = sum(1 for _ in _sound(store, files, read))
    sound += sum(1 for _ in _sound(store, states, lambda path: unpack(read_whole(path))))
    # a file that another process replaced or removed meanwhile counts as neither
    return sum(not _there(path) for path in (*files, *states)), sound


def prune(
    folder: Path, *, failed: bool = False, checkpoints: bool = False, days: float | None = None, dry_run: bool = False
) -> Removed:
    """Removes files that no run can use: those of earlier versions, leftovers of killed processes, damaged files.

    Files of newer versions, and files that estbench did not write, are not touched.

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
    # listed before the cells are read, so that files found damaged now are kept for inspection
    waste = {*_outdated(store), *_aside(store)}
    cells = {path: about["status"] for path, about in _sound(store, store.files(), read_about)}
    waste |= {path for path in store.unfinished() if now - _written(path, now) > _WRITING}
    if failed:
        waste |= {path for path, status in cells.items() if status == "failed"}
    if checkpoints:
        waste |= set(store.states())
    if days is not None:
        waste |= {path for path in (*cells, *store.states()) if now - _written(path, now) > days * 86400}
    removed = Removed(len(waste), sum(map(_size, waste)))
    for path in () if dry_run else sorted(waste):
        _remove(path)
    return removed


def _sound(store: Store, paths: Iterable[Path], check: Callable[[Path], Any]) -> Iterator[tuple[Path, Any]]:
    """What a check reads in each file; damaged ones are set aside, and ones that cannot be read are named."""
    for path in paths:
        try:
            yield path, check(path)
        except FileNotFoundError:  # another process continued from it and removed it meanwhile
            pass
        except DamagedError as error:
            store.set_aside(path, str(error))
        except OSError as error:
            store.say(f"cannot read {path}: {error.strerror or error}")


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


def _outdated(store: Store) -> list[Path]:
    """Cells of earlier versions, by their names: no damage makes a cell of this version one of them."""
    return [*store.older(), *(path for path in store.foreign() if _is_outdated(path))]


def _is_outdated(path: Path) -> bool:
    name = _NAME.fullmatch(path.name)
    return name is not None and int(name[2] or 0) < FORMAT and path.is_file()


def _strange(store: Store) -> list[Path]:
    return [path for path in store.foreign() if not _is_outdated(path)]


def _named(paths: Sequence[Path]) -> str:
    return shorten(plain(listed([path.name for path in paths])), 300)


def _aside(store: Store) -> list[Path]:
    """The damaged files; folders are left out, since estbench did not write them."""
    return sorted(path for path in (store.folder / "damaged").glob("*") if path.is_symlink() or not path.is_dir())


def _there(path: Path) -> bool:
    return path.is_symlink() or path.exists()


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.lstat().st_size
    return 0


def _written(path: Path, otherwise: float) -> float:
    with contextlib.suppress(OSError):
        return path.lstat().st_mtime
    return otherwise


def _mebibytes(paths: Iterable[Path]) -> str:
    return f"{sum(map(_size, paths)) / 2**20:.1f} MiB"
