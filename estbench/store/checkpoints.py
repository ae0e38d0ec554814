"""Checkpoints: a journal of measurements in a store, as files of tensors."""

import contextlib
import io
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from estbench.engine.journal import Journal
from estbench.errors import DamagedError, UserError
from estbench.store.cell_file import Entry
from estbench.store.files import digest, make_folder, read_whole, write_atomically
from estbench.store.store import Store


class Checkpoints(Journal):
    """Keeps the state of one cell, and finds those of the same cell with other budgets.

    Args:
        store: where the files are.
        entry: the cell.
        seconds: time between two kept states; 0 keeps every state.
    """

    def __init__(self, store: Store, entry: Entry, seconds: float) -> None:
        self._store, self._seconds = store, seconds
        self._path = store.checkpoints / entry.key / f"{entry.amount}.pt"
        self._continued: Path | None = None
        self._last = time.monotonic()

    def furthest(self, progress: str, limit: int) -> dict[str, Any] | None:
        """The kept state with the largest ``state[progress]`` that is not above the limit; None if there is none."""
        states = {path: state for path in self._path.parent.glob("*.pt") if (state := self._read(path)) is not None}
        usable = [path for path, state in states.items() if state[progress] <= limit]
        if not usable:
            return None
        self._continued = max(usable, key=lambda path: states[path][progress])
        return states[self._continued]

    def due(self) -> bool:
        """Whether it is time to keep another state."""
        return time.monotonic() - self._last >= self._seconds

    def keep(self, state: Mapping[str, Any], *, done: bool = False) -> None:
        """Keeps a state and drops earlier ones of this cell; if done, also the state that it continued from.

        If the state cannot be written, the measurement continues without it.
        """
        with contextlib.suppress(UserError, OSError):
            make_folder(self._path.parent)
            write_atomically(self._path, pack(state))
            if done and self._continued not in (None, self._path):
                self._continued.unlink(missing_ok=True)
        self._last = time.monotonic()

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            return unpack(read_whole(path))
        except OSError:
            return None
        except DamagedError as error:
            self._store.set_aside(path, str(error))
            return None


def pack(state: Mapping[str, Any]) -> bytes:
    """A state as the content of a file, with a checksum; nothing in it is code."""
    inner = io.BytesIO()
    torch.save(dict(state), inner)
    content = inner.getvalue()
    outer = io.BytesIO()
    torch.save({"sha256": digest(content), "state": torch.frombuffer(bytearray(content), dtype=torch.uint8)}, outer)
    return outer.getvalue()


def unpack(content: bytes) -> dict[str, Any]:
    """The state in the content of a file.

    Raises:
        DamagedError: it is not what was written.
    """
    # torch.load raises whatever its reader meets
    try:
        outer = torch.load(io.BytesIO(content), weights_only=True)
        inner = outer["state"].numpy().tobytes()
        state = torch.load(io.BytesIO(inner), map_location="cpu", weights_only=True)
    except Exception as error:
        raise DamagedError(f"{type(error).__name__}: {error}".splitlines()[0][:120]) from error
    if digest(inner) != outer["sha256"]:
        raise DamagedError("wrong checksum")
    return state
