"""The store: keeps the result of each cell in a file."""

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from estbench.errors import DamagedError, UserError, warn
from estbench.store.cell_file import SUFFIX, Entry, pack, read
from estbench.store.files import UNFINISHED, digest, make_folder, read_whole, write_atomically
from estbench.store.records import Result


class Store:
    """A folder with one Parquet file per cell, written atomically.

    More than twelve public methods, because it is the one place that knows where the files of cells,
    checkpoints and notes are.

    Any number of processes may read and write it at once: a file is either complete or absent, and all processes that
    write the same cell write the same values.

    Args:
        folder: the folder of the files; it is made when something is written.
        say: called with a message about each damaged file.

    Raises:
        UserError: the path exists and is not a folder.
    """

    def __init__(self, folder: Path, say: Callable[[str], None] = warn) -> None:
        if folder.exists() and not folder.is_dir():
            raise UserError(f"cannot keep results in {folder}: it is a file, not a folder")
        self.folder, self.say = folder, say

    @property
    def cells(self) -> Path:
        """The folder of the results."""
        return self.folder / "cells"

    @property
    def checkpoints(self) -> Path:
        """The folder of the states from which measurements can be continued."""
        return self.folder / "checkpoints"

    def path(self, entry: Entry) -> Path:
        """The file of a cell."""
        return self.cells / f"{entry.name}{SUFFIX}"

    def get(self, entry: Entry) -> Result | None:
        """The result of a cell; None if there is none, or its file is damaged and then set aside."""
        return self.load(self.path(entry))

    def load(self, path: Path) -> Result | None:
        """The result in a file; None if there is none, or it is damaged and then set aside."""
        try:
            return read(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except DamagedError as error:
            self.set_aside(path, str(error))
            return None
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror or error}") from error

    def find(self, entries: Iterable[Entry]) -> dict[str, Result]:
        """The results that are there, by the names of their entries."""
        entries = list(entries)
        # in parts of several files per thread: a network file system is slow, but a local one is faster than starting a
        # thread
        size = max(64, -(-len(entries) // 8))
        parts = [entries[start : start + size] for start in range(0, len(entries), size)]
        with ThreadPoolExecutor(8) as pool:
            found = [pair for part in pool.map(self._some, parts) for pair in part]
        return {entry.name: result for entry, result in found if result is not None}

    def _some(self, entries: Iterable[Entry]) -> list[tuple[Entry, Result | None]]:
        return [(entry, self.get(entry)) for entry in entries]

    def put(self, entry: Entry, result: Result) -> None:
        """Keeps the result of a cell."""
        make_folder(self.cells)
        write_atomically(self.path(entry), pack(entry, result))

    def check_writable(self) -> None:
        """Checks that results can be kept, before anything is measured.

        Raises:
            UserError: they cannot.
        """
        for folder in (self.cells, self.checkpoints):
            make_folder(folder)
            probe = folder / f"{UNFINISHED}{os.getpid()}"
            write_atomically(probe, b"?")
            probe.unlink(missing_ok=True)

    def note(self, label: str, entries: Iterable[Entry]) -> None:
        """Records the cells of a run under its commit, if the store can be written."""
        names = [{"key": entry.key, "budget": dict(entry.budget)} for entry in entries]
        content = json.dumps(names).encode()
        with contextlib.suppress(UserError):
            make_folder(self._runs / label)
            write_atomically(self._runs / label / f"{digest(content)[:16]}.json", content)

    def noted(self, label: str) -> list[Entry]:
        """The cells of all runs under a label."""
        found: dict[str, Entry] = {}
        for path in sorted((self._runs / label).glob("*.json")):
            with contextlib.suppress(OSError, ValueError, TypeError):
                found |= {(entry := Entry(**each)).name: entry for each in json.loads(read_whole(path))}
        return list(found.values())

    def labels(self) -> list[str]:
        """The labels of noted runs."""
        return sorted(path.name for path in self._runs.glob("*"))

    @property
    def _runs(self) -> Path:
        return self.folder / "runs"

    def files(self) -> Iterator[Path]:
        """The files of cells that are there, of this version of the format."""
        return iter(sorted(self.cells.glob(f"*{SUFFIX}")))

    def foreign(self) -> Iterator[Path]:
        """Files beside them that this version does not read: of older or newer versions, or somebody else's."""
        names = (path for path in self.cells.glob("*") if not path.name.endswith(SUFFIX))
        return iter(sorted(path for path in names if not path.name.startswith(UNFINISHED)))

    def states(self) -> Iterator[Path]:
        """The files of states that are there."""
        return iter(sorted(self.checkpoints.glob("*/*.pt")))

    def unfinished(self) -> Iterator[Path]:
        """Temporary files of processes that were killed."""
        return iter(sorted(self.folder.glob(f"**/{UNFINISHED}*")))

    def older(self) -> Iterator[Path]:
        """Files of the first version, which kept cells in the folder itself."""
        return iter(sorted(self.folder.glob("*.parquet")))

    def set_aside(self, path: Path, reason: str) -> None:
        """Moves a damaged file away, with a message."""
        aside = self.folder / "damaged"
        try:
            aside.mkdir(exist_ok=True)
            path.replace(aside / f"{path.parent.name}-{path.name}")
            done = f"it is now in {aside}, and what it held is measured again"
        except OSError:
            done = "what it held is measured again"
        self.say(f"{path} is damaged ({reason}); {done}")
