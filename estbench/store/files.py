"""Atomic writing of files: a file exists either completely or not at all."""

import contextlib
import errno
import hashlib
import os
import stat
import tempfile
from pathlib import Path

from estbench.errors import UserError

# prefix of the names of files that are still being written
UNFINISHED = ".writing-"


def make_folder(folder: Path) -> None:
    """Makes a folder if it does not exist.

    Raises:
        UserError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot keep results in {folder}: {error.strerror}") from error


def check_folder(folder: Path) -> None:
    """Checks that files can be written in a folder, which may not exist yet; leaves nothing behind.

    Raises:
        UserError: they cannot.
    """
    try:
        # a broken link counts as existing too, since no folder can be made in its place
        place = next(each for each in (folder, *folder.absolute().parents) if each.exists() or each.is_symlink())
        with tempfile.NamedTemporaryFile(dir=place, prefix=UNFINISHED):
            pass
    except OSError as error:
        raise UserError(f"cannot write in {folder}: {error.strerror or error}") from error


def read_whole(path: Path) -> bytes:
    """The content of a file, at once: a pipe or a device in its place is not waited for.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    # opening a pipe would wait for somebody who writes into it
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    with os.fdopen(number, "rb") as file:
        return file.read()


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file atomically: after an interruption it is either complete or absent.

    Raises:
        UserError: it cannot be written.
    """
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=UNFINISHED, delete=False) as file:
            temporary = Path(file.name)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # temporary files are readable by their owner only; results should be readable by others
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()


def digest(content: bytes) -> str:
    """The checksum of a file's content."""
    return hashlib.sha256(content).hexdigest()
