"""Files that are there whole or not at all."""

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

from estbench.errors import UserError

# how the names of files begin that are still being written
UNFINISHED = ".writing-"


def make_folder(folder: Path) -> None:
    """Makes a folder if it is not there.

    Raises:
        UserError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot keep results in {folder}: {error.strerror}") from error


def check_folder(folder: Path) -> None:
    """Makes sure that files can be written in a folder, which may not be there yet; nothing is left of the trial.

    Raises:
        UserError: they cannot.
    """
    try:
        # also a link that leads nowhere is there: no folder can be made in its place
        place = next(each for each in (folder, *folder.absolute().parents) if each.exists() or each.is_symlink())
        with tempfile.NamedTemporaryFile(dir=place, prefix=UNFINISHED):
            pass
    except OSError as error:
        raise UserError(f"cannot write in {folder}: {error.strerror or error}") from error


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file that is there whole or not at all, whatever happens meanwhile.

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
        # temporary files are their owner's alone; results are for others to read
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()


def digest(content: bytes) -> str:
    """What tells whether a file is what was written."""
    return hashlib.sha256(content).hexdigest()
