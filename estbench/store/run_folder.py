"""The folder of a run, with its results and ``environment.json``; only this module reads and writes it."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from estbench.errors import UserError, nearest
from estbench.store.files import make_folder, read_whole, write_atomically
from estbench.store.records import csv, from_parquet, parquet

# the version of the format of environment.json; files from before this key existed have the same other keys
VERSION = 1
TABLES = "tables.txt"
_RESULTS = "results.parquet"
_INFO = "environment.json"
_PAGE = "index.html"
_NEEDED = ("task", "estimator", "params", "seed", "measure", "metric", "step", "value", "low", "high", "n", "status")
# for these keys None is a valid value: there is no GPU, or the run was started outside a git repository
_MAY_BE_NONE = {"commit", "dirty", "gpu", "gpu_random_numbers", "driver"}


@dataclass(frozen=True)
class RunInfo:
    """The content of ``environment.json``: information about a run besides its results; None if unknown.

    Args:
        command: the command line.
        suite: the suite that was run, by its keys.
        started: when, as ISO 8601.
        seconds: how long it took.
        seeds: the seeds.
        cells: a digest of the results; the same results have the same one.
        commit: the git commit of the folder in which it was started.
        dirty: whether there were uncommitted changes.
        python: version.
        platform: the operating system.
        cpu: name of the CPU.
        cores: number of CPU cores.
        gpu: the GPU.
        gpu_random_numbers: the property of the GPU on which its random numbers depend.
        driver: version of the GPU's driver.
        blas: libraries of linear algebra and threads.
        torch: version.
        numpy: version.
        threads: of torch.
        versions: of packages, by name; also of those that plugins of others come from and import.
        sources: the text of plugin files and of what they import from beside them, by ``KIND/PLUGIN`` and file, so
            that the run can be repeated without its author's disk.
        families: the family of each estimator, by name.
        papers: the paper of each estimator, by name.
        options: all options by ``task`` or ``estimator``, specification and name.
        metrics: what the measures declare of the metrics in the results, by measure.
        planned: the measures that were to be made, by task and estimator; after an interrupt some have no result.
        version: of this format.
    """

    command: str | None = None
    suite: Mapping[str, Any] | None = None
    started: str | None = None
    seconds: float | None = None
    seeds: list[int] | None = None
    cells: str | None = None
    commit: str | None = None
    dirty: bool | None = None
    python: str | None = None
    platform: str | None = None
    cpu: str | None = None
    cores: int | None = None
    gpu: str | None = None
    gpu_random_numbers: str | None = None
    driver: str | None = None
    blas: str | None = None
    torch: str | None = None
    numpy: str | None = None
    threads: int | None = None
    versions: dict[str, str] = field(default_factory=dict)
    sources: dict[str, dict[str, str]] = field(default_factory=dict)
    families: dict[str, str] = field(default_factory=dict)
    papers: dict[str, str] = field(default_factory=dict)
    # values of options are what JSON holds; pydantic cannot read a recursive alias
    options: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    metrics: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    planned: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    version: int = VERSION

    @classmethod
    def read(cls, values: object) -> Self:
        """Checks what a file holds.

        Raises:
            TypeError: the content is not an object.
            ValueError: a key or a value is invalid; the message says what was received.
        """
        if not isinstance(values, dict):
            raise TypeError(f"expected an object with the keys of a run; got {type(values).__name__}")
        if (version := values.get("version", VERSION)) != VERSION:
            raise ValueError(f"it has version {version!r} of the format, and this estbench reads version {VERSION}")
        known = [each.name for each in fields(cls)]
        for key in values:
            if key not in known:
                raise ValueError(f"unknown key {key!r}; {nearest(key, known)}")
        try:
            return TypeAdapter(cls).validate_json(json.dumps(values), strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise ValueError(f"{place}: {first['msg'].lower()}; got {first['input']!r}") from error

    @property
    def known(self) -> dict[str, Any]:
        """The information by key, as reports print it."""
        values = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "version"}
        return {key: value for key, value in values.items() if value is not None or key in _MAY_BE_NONE}


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run.

    Args:
        path: the folder.
    """

    path: Path

    @classmethod
    def of(cls, source: Path) -> Self:
        """The folder that a path names: itself, or that of a file of results in it."""
        return cls(source.parent if source.is_file() else source)

    @property
    def page(self) -> Path:
        """The report's page."""
        return self.path / _PAGE

    def measured(self) -> bool:
        """Whether there are results."""
        return (self.path / _RESULTS).is_file()

    def results(self) -> pd.DataFrame:
        """The results.

        Raises:
            UserError: there are none that can be read.
        """
        return read_results(self.path)

    def info(self) -> RunInfo:
        """Reads the information about the run.

        Raises:
            UserError: it is not there, cannot be read, or is not what a run writes.
        """
        path = self.path / _INFO
        try:
            return RunInfo.read(json.loads(read_whole(path)))
        except FileNotFoundError as error:
            raise UserError(f"{self.path} holds no results of a comparison: there is no file {path}") from error
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror or error}") from error
        except (TypeError, ValueError) as error:
            raise UserError(f"{path} is not what a run writes: {error}") from error

    def recorded(self) -> bool:
        """Whether there is a file with information about the run."""
        return (self.path / _INFO).is_file()

    def holds(self, cells: str) -> bool:
        """Whether it holds the whole report of the results with this digest."""
        if not (self.recorded() and self.page.is_file() and (self.path / TABLES).is_file()):
            return False
        try:
            return self.info().cells == cells
        except UserError:
            # a file that cannot be read is written again
            return False

    def tables(self) -> str:
        """The tables of the report, as text."""
        return read_whole(self.path / TABLES).decode(errors="replace")

    def write_results(self, results: pd.DataFrame) -> None:
        """Writes the results, as Parquet and as CSV.

        Raises:
            UserError: the folder cannot be written.
        """
        make_folder(self.path)
        write_atomically(self.path / _RESULTS, parquet(results))
        self.write_table("results.csv", results)

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Writes a table as CSV; see ``records.csv``."""
        make_folder(self.path)
        write_atomically(self.path / name, csv(table))

    def close(self, info: RunInfo, tables: str) -> None:
        """Writes the tables and the information about the run; this comes last and marks the folder as complete."""
        write_atomically(self.path / TABLES, tables.encode())
        content = {**info.known, "version": info.version}
        write_atomically(self.path / _INFO, (json.dumps(content, indent=2) + "\n").encode())


def read_results(source: Path) -> pd.DataFrame:
    """The results of a run, by its folder or its Parquet file.

    Raises:
        UserError: they are not there, cannot be read, or lack columns.
    """
    path = source / _RESULTS if source.is_dir() else source
    try:
        found = pd.read_parquet(io.BytesIO(read_whole(path)))
    except (OSError, ValueError) as error:
        reason = (str(error).splitlines() or [""])[0] if path.exists() else f"there is no file {path}"
        raise UserError(f"{source} holds no results of a comparison: {reason}") from error
    if missing := [name for name in _NEEDED if name not in found.columns]:
        raise UserError(f"{source} holds no results of a comparison: {path} lacks {', '.join(missing)}")
    return from_parquet(found)
