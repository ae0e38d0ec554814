"""The file of one cell: an ordinary Parquet file with a checksum of its whole content in the metadata."""

import io
import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from estbench.errors import DamagedError
from estbench.store.files import digest
from estbench.store.records import COLUMNS, SCHEMA, Result

# the version of what is in the files; part of every key, and of every name: what a file's name says is this version's
# must have a valid checksum, so that no flipped bit makes a file look like one of another version
FORMAT = 5
SUFFIX = f".v{FORMAT}.parquet"
_ABOUT, _CHECKSUM = b"estbench", b"estbench.sha256"
# what stands in place of the checksum while it is computed
_BLANK = b"#" * 64


@dataclass(frozen=True, slots=True)
class Entry:
    """The name under which the results of a cell are kept.

    Args:
        key: hash of everything that the results depend on, except the budget.
        budget: how much was measured, by option.
    """

    key: str
    budget: Mapping[str, int] = field(default_factory=dict)

    @property
    def amount(self) -> str:
        """The budget in a file's name."""
        return ",".join(f"{name}={value}" for name, value in sorted(self.budget.items())) or "all"

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return f"{self.key}-{self.amount}"


def pack(entry: Entry, result: Result) -> bytes:
    """The content of the file of a result."""
    about = {**result.about, "format": FORMAT, "key": entry.key, "budget": dict(entry.budget), "status": result.status}
    metadata = {_ABOUT: json.dumps(about).encode(), _CHECKSUM: _BLANK}
    buffer = io.BytesIO()
    pq.write_table(result.table.cast(SCHEMA).replace_schema_metadata(metadata), buffer, write_page_checksum=True)
    content = buffer.getvalue()
    start, stop = _place(content, _CHECKSUM)
    return content[:start] + digest(content).encode() + content[stop:]


def read(path: Path) -> Result:
    """The result in a file.

    Raises:
        OSError: it cannot be read.
        DamagedError: the checksum is wrong.
    """
    content = _content(path)
    about = _unseal(content, path)
    try:
        table = pq.ParquetFile(io.BytesIO(content)).read(use_threads=False).replace_schema_metadata(None)
    except (OSError, ValueError) as error:
        raise DamagedError(f"{type(error).__name__}: {error}".splitlines()[0][:120]) from error
    if table.schema.names != list(COLUMNS):
        raise DamagedError("its columns are not those of a cell")
    return Result(table, about)


def read_about(path: Path) -> dict[str, Any]:
    """The information that is kept with the rows; takes a fifth of the time of reading the rows, and is checked too.

    Raises:
        OSError: it cannot be read.
        DamagedError: the checksum is wrong.
    """
    return _unseal(_content(path), path)


def _content(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if path.is_symlink():
            raise DamagedError("it is a link that leads nowhere") from error
        raise
    if not stat.S_ISREG(mode):
        raise DamagedError("it is a folder" if stat.S_ISDIR(mode) else "it is no regular file")
    return path.read_bytes()


def _unseal(content: bytes, path: Path) -> dict[str, Any]:
    """The information that is kept with the rows, after the checksum was verified."""
    try:
        start, stop = _place(content, _CHECKSUM)
        first, last = _place(content, _ABOUT)
    except ValueError as error:
        raise DamagedError("it is cut off, or is no file of a cell") from error
    if digest(content[:start] + _BLANK + content[stop:]).encode() != content[start:stop]:
        raise DamagedError("its checksum is wrong")
    about: dict[str, Any] = json.loads(content[first:last])
    entry = Entry(about["key"], about["budget"])
    if path.name != f"{entry.name}{SUFFIX}":
        raise DamagedError(f"it holds {entry.name}")
    return about


def _place(content: bytes, key: bytes) -> tuple[int, int]:
    """Where the value of a key begins and ends in the footer of a Parquet file.

    The footer is in Thrift's compact protocol: a pair of key and value is two fields of type binary, each with the
    header 0x18 and its length as a variable-length integer of seven bits a byte. JSON holds no byte 0x18, so that
    nothing in the values is taken for a key.

    Raises:
        ValueError: the key is not there, or is cut off.
    """
    label = b"\x18" + bytes([len(key)]) + key + b"\x18"
    start = content.rindex(label) + len(label)
    size = shift = 0
    while True:
        if start >= len(content):
            raise ValueError("cut off")
        byte = content[start]
        start += 1
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    if start + size > len(content):
        raise ValueError("cut off")
    return start, start + size
