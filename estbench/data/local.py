"""Files of data sets in a local folder, in the layouts that other libraries leave them in."""

import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

# how deep below the folder of a user a data set may lie, and how many folders are looked at
_DEPTH, _MOST = 3, 2000
# names of folders, without case and punctuation, and the data set that lies in them
_FOLDERS = {
    "mnist": "mnist",
    "fashionmnist": "fashion_mnist",
    "fashion": "fashion_mnist",
    "omniglot": "omniglot",
    "binarisedmnist": "binarised_mnist",
    "binarizedmnist": "binarised_mnist",
}


@dataclass(frozen=True)
class LocalFiles:
    """What a folder holds of a data set.

    Args:
        folder: the folder; None where there is none.
        files: paths by the names of the files that are there, whatever they are called there.
        missing: names of the files that are not.
    """

    folder: Path | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether every file is there."""
        return self.folder is not None and not self.missing


def find(root: Path, name: str, files: tuple[str, ...], archive: str = "") -> LocalFiles:
    """The first folder that holds every file of a data set; else the one that lacks the fewest, or none.

    Args:
        root: folder of the user.
        name: the data set.
        files: the names of its files as they are served.
        archive: the name of a file that may stand for all of them.
    """
    best = LocalFiles()
    for folder in _walk(root):
        if archive and (folder / archive).is_file():
            return LocalFiles(folder, dict.fromkeys(files, folder / archive))
        if _data_set(root, folder) != name:
            continue
        there = {file: path for file in files if (path := _path(folder, file)) is not None}
        found = LocalFiles(folder, there, tuple(file for file in files if file not in there))
        if found.whole:
            return found
        if there and len(there) > len(best.files):
            best = found
    return best


def _path(folder: Path, file: str) -> Path | None:
    """A file under the names that it has: compressed or not, with a dash or a dot before its format."""
    plain = file.removesuffix(".gz")
    names = (file, plain, plain.replace("-idx", ".idx") + ".gz", plain.replace("-idx", ".idx"))
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _walk(root: Path) -> Iterator[Path]:
    """A folder and those below it, those above first."""
    level, count = [root], 0
    for _ in range(_DEPTH + 1):
        below: list[Path] = []
        for folder in level:
            count += 1
            if count > _MOST:
                return
            yield folder
            below += _children(folder)
        level = below


def _children(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(folder / entry.name for entry in entries if entry.is_dir() and entry.name[0] != ".")
    except OSError:  # no folder, or not ours to read
        return []


def _data_set(root: Path, folder: Path) -> str | None:
    """The data set that the nearest name of a path speaks of."""
    parts = (root.name, *folder.relative_to(root).parts)
    known = (_FOLDERS.get("".join(filter(str.isalnum, part)).lower()) for part in reversed(parts))
    return next((name for name in known if name), None)


def from_keras(content: bytes, file: str) -> bytes:
    """The content of an IDX file, from the archive in which Keras keeps MNIST.

    Raises:
        KeyError, ValueError, OSError: it is no such archive.
    """
    import numpy as np  # noqa: PLC0415  (kept out of `estbench data list`)

    part, kind = ("train" if file.startswith("train") else "test"), ("x" if "images" in file else "y")
    with np.load(io.BytesIO(content)) as arrays:
        array = arrays[f"{kind}_{part}"].astype(np.uint8)
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()
