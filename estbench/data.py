"""Data sets: images in [0, 1], from a local folder, a bundled copy, or a download with checksums.

A folder named by the environment variable ``ESTBENCH_DATA`` is looked at first, then the user's cache, which
downloads fill.
"""

import functools
import gzip
import hashlib
import math
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from estbench.spec import UserError
from estbench.task import Splits

Dataset: TypeAlias = Literal["digits", "mnist"]
Binarisation: TypeAlias = Literal["dynamic", "fixed", "threshold", "none"]


@dataclass(frozen=True)
class File:
    """A compressed file of a data set.

    Args:
        name: its name.
        packed: SHA-256 of the file that the mirrors serve.
        content: SHA-256 of what is in it; a local copy may be compressed otherwise.
    """

    name: str
    packed: str
    content: str


@dataclass(frozen=True)
class Source:
    """Where the files of a data set come from.

    Args:
        name: the data set, and its folder.
        mirrors: addresses that hold the files.
        files: the files.
        note: what it is, for ``estbench data list``.
    """

    name: str
    mirrors: tuple[str, ...]
    files: tuple[File, ...]
    note: str

    def folder(self) -> Path:
        """The local folder named by ESTBENCH_DATA if it holds every file, else the cache."""
        local = Path(os.environ.get("ESTBENCH_DATA", "")) / self.name
        return local if all((local / file.name).is_file() for file in self.files) else cache() / self.name

    def present(self) -> bool:
        """Whether every file is there."""
        return all((self.folder() / file.name).is_file() for file in self.files)

    def fetch(self) -> None:
        """Makes sure that every file is there and is what it should be; as ``read``."""
        for file in self.files:
            self.read(file.name)

    def read(self, name: str) -> bytes:
        """What is in one of its files; downloaded if it is not there.

        Raises:
            UserError: it cannot be had, or is not what it should be.
        """
        file = next(file for file in self.files if file.name == name)
        path = self.folder() / name
        if not path.is_file():
            self._download(file)
        try:
            content = gzip.decompress(path.read_bytes())
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{path} is damaged ({error}); remove it and fetch again") from error
        if hashlib.sha256(content).hexdigest() != file.content:
            raise UserError(f"{path} is damaged: wrong checksum; remove it and fetch again")
        return content

    def _download(self, file: File) -> None:
        import pooch  # noqa: PLC0415  (slow, and needed only here)

        failures = []
        for mirror in self.mirrors:
            try:
                pooch.retrieve(mirror + file.name, f"sha256:{file.packed}", file.name, cache() / self.name)
            except (OSError, ValueError) as error:
                failures.append(f"{mirror}: {type(error).__name__}")
            else:
                return
        raise UserError(
            f"{self.name} is not on this machine and could not be downloaded ({'; '.join(failures)}); put "
            f"{', '.join(each.name for each in self.files)} into a folder {self.name}/ and name its parent "
            "in ESTBENCH_DATA"
        )


MNIST = Source(
    "mnist",
    (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    (
        File(
            "train-images-idx3-ubyte.gz",
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        File(
            "t10k-images-idx3-ubyte.gz",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        File(
            "train-labels-idx1-ubyte.gz",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        File(
            "t10k-labels-idx1-ubyte.gz",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    "handwritten digits, 28x28 grey; 50,000 / 10,000 / 10,000",
)
SOURCES = {"mnist": MNIST}
DIGITS_NOTE = "handwritten digits bundled with scikit-learn, 8x8 grey; 1,197 / 300 / 300"


def cache() -> Path:
    """The user's cache folder for data."""
    import pooch  # noqa: PLC0415

    return Path(pooch.os_cache("estbench"))


@functools.lru_cache(maxsize=2)
def images(name: str) -> Splits:
    """Images of a data set as ``(examples, pixels)`` float32 in [0, 1], in the order of its files.

    Raises:
        UserError: the data set is unknown or cannot be had.
    """
    if name == "digits":
        return _digits()
    if name == "mnist":
        train = _idx(MNIST.read("train-images-idx3-ubyte.gz"))
        test = _idx(MNIST.read("t10k-images-idx3-ubyte.gz"))
        return Splits((train[:50_000],), (train[50_000:],), (test,))
    raise UserError(f"unknown data set {name!r}; known: digits, {', '.join(SOURCES)}")


@functools.lru_cache(maxsize=2)
def labels(name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Classes 0 to 9 of the images of training, validation and test set, each ``(examples,)`` int64.

    Raises:
        UserError: the data set is unknown, has no labels, or cannot be had.
    """
    if name == "digits":
        bundled, order = _bundled(), _digits_order()
        train, valid, test = torch.tensor(bundled.target)[order].split(_DIGITS_SIZES)
        return train, valid, test
    if name == "mnist":
        classes = _idx_labels(MNIST.read("train-labels-idx1-ubyte.gz"))
        return classes[:50_000], classes[50_000:], _idx_labels(MNIST.read("t10k-labels-idx1-ubyte.gz"))
    raise UserError(f"no labels of a data set {name!r}; known: digits, {', '.join(SOURCES)}")


_DIGITS_SIZES = [1197, 300, 300]


def _digits() -> Splits:
    pixels = torch.tensor(_bundled().data / 16.0, dtype=torch.float32)[_digits_order()]
    return Splits(*((part,) for part in pixels.split(_DIGITS_SIZES)))


def _bundled() -> Any:
    from sklearn.datasets import load_digits  # noqa: PLC0415  (slow)

    return load_digits()


def _digits_order() -> Tensor:
    """A fixed shuffle: the file is ordered by writer, and the splits are to be alike."""
    return torch.randperm(sum(_DIGITS_SIZES), generator=torch.Generator().manual_seed(0))


def _idx(content: bytes) -> Tensor:
    """Images of an IDX file, flattened."""
    raw = np.frombuffer(content, np.uint8)
    count, rows, columns = raw[4:16].view(">i4")
    return torch.tensor(raw[16:].reshape(count, rows * columns), dtype=torch.float32) / 255


def _idx_labels(content: bytes) -> Tensor:
    """Labels of an IDX file."""
    return torch.tensor(np.frombuffer(content, np.uint8)[8:], dtype=torch.long)


FIXED_SEED = 20170424


@functools.lru_cache(maxsize=4)
def binarised(name: str, binarisation: Binarisation) -> Splits:
    """Images as a protocol wants them.

    - ``none``: grey, as they are.
    - ``threshold``: whether a pixel is above one half.
    - ``fixed``: each pixel drawn once with its grey level as probability, by seed ``FIXED_SEED``.
    - ``dynamic``: as ``fixed`` for validation and test; training images stay grey and ``draw`` binarises each
      minibatch anew.

    Raises:
        UserError: the data set is unknown or cannot be had.
    """
    grey = images(name)
    if binarisation == "none":
        return grey
    if binarisation == "threshold":
        return Splits(*(((x > 0.5).float(),) for (x,) in grey))
    generator = torch.Generator().manual_seed(FIXED_SEED)
    # the training images take their random numbers in either case, so that the other splits are the same
    fixed = Splits(*((draw(x, generator),) for (x,) in grey))
    return fixed if binarisation == "fixed" else fixed._replace(train=grey.train)


def draw(grey: Tensor, generator: torch.Generator) -> Tensor:
    """Binary images drawn with the grey levels as probabilities."""
    u = torch.rand(grey.shape, dtype=grey.dtype, device=grey.device, generator=generator)
    return (u < grey).to(grey.dtype)


def squares(pixels: Tensor) -> Tensor:
    """Pixels along the last dimension as square images: ``(..., height, width)``."""
    side = math.isqrt(pixels.shape[-1])
    return pixels.unflatten(-1, (side, side))
