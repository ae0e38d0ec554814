"""Files of data sets in a local folder, in the layouts that other libraries use."""

import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

# how deep below the user's folder a data set may be, and how many folders are searched
_DEPTH, _MOST = 3, 2000
# names of folders, in lower case and without punctuation, and the data set that each holds
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
    """The files of a data set that a folder holds.

    Args:
        folder: the folder; None if there is none.
        files: paths of the files that exist, by the names under which they are served.
        missing: names of the files that do not exist.
    """

    folder: Path | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether every file exists."""
        return self.folder is not None and not self.missing


def find(root: Path, name: str, files: tuple[str, ...], archive: str = "") -> LocalFiles:
    """The first folder that holds every file of a data set; otherwise the one that lacks the fewest, or none.

    Args:
        root: the user's folder.
        name: the data set.
        files: the names of its files as they are served.
        archive: the name of a file that may replace all of them.
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
    """A file under any of its names: compressed or not, with a dash or a dot before its format."""
    plain = file.removesuffix(".gz")
    names = (file, plain, plain.replace("-idx", ".idx") + ".gz", plain.replace("-idx", ".idx"))
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _walk(root: Path) -> Iterator[Path]:
    """A folder and all folders below it, each before the folders that it contains."""
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
    except OSError:  # it is no folder, or may not be read
        return []


def _data_set(root: Path, folder: Path) -> str | None:
    """The data set that is named by the last part of a path that names one."""
    parts = (root.name, *folder.relative_to(root).parts)
    known = (_FOLDERS.get("".join(filter(str.isalnum, part)).lower()) for part in reversed(parts))
    return next((name for name in known if name), None)


def from_keras(content: bytes, file: str) -> bytes:
    """The content of an IDX file, from the archive in which Keras keeps MNIST.

    Raises:
        KeyError, ValueError, OSError: the file is no such archive.
    """
    import numpy as np  # noqa: PLC0415  (kept out of `estbench data list`)

    part, kind = ("train" if file.startswith("train") else "test"), ("x" if "images" in file else "y")
    with np.load(io.BytesIO(content)) as arrays:
        array = arrays[f"{kind}_{part}"].astype(np.uint8)
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()
