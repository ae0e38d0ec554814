"""Data sets: images in [0, 1], split and binarised as protocols have it."""

import functools
import io
import math
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from estbench.core.task import Splits
from estbench.data.sources import BINARISED_MNIST, FASHION_MNIST, MNIST, OMNIGLOT, FileSource
from estbench.errors import UserError

Dataset: TypeAlias = Literal["digits", "mnist", "fashion_mnist", "omniglot", "binarised_mnist"]
Binarisation: TypeAlias = Literal["dynamic", "fixed", "threshold", "none"]

SOURCES = {source.name: source for source in (MNIST, FASHION_MNIST, OMNIGLOT, BINARISED_MNIST)}
LABELLED = ("digits", "mnist", "fashion_mnist")
DIGITS_NOTE = "handwritten digits bundled with scikit-learn, 8x8 grey; 1,197 / 300 / 300"
DIGITS_SIZES = [1197, 300, 300]
FIXED_SEED = 20170424
PIXELS = 784


@functools.lru_cache(maxsize=2)
def images(name: str) -> Splits:
    """Images of a data set as ``(examples, pixels)`` float32 in [0, 1].

    They are in the order of its files, but for Omniglot, which is shuffled and split as by Tucker et al. (2017),
    https://arxiv.org/abs/1703.07370.

    Raises:
        UserError: the data set is unknown or cannot be had.
    """
    if name == "digits":
        return _digits()
    source = _source(name)
    return _checked(source, _LOADERS[name](source))


@functools.lru_cache(maxsize=2)
def labels(name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Classes 0 to 9 of the images of training, validation and test set, each ``(examples,)`` int64.

    Raises:
        UserError: the data set is unknown, has no labels, or cannot be had.
    """
    if name not in LABELLED:
        raise UserError(f"no labels of a data set {name!r}; known: {', '.join(LABELLED)}")
    if name == "digits":
        train, valid, test = torch.tensor(_bundled().target)[_digits_order()].split(DIGITS_SIZES)
        return train, valid, test
    source = _source(name)
    classes, test = (_idx_labels(source.read(f"{part}-labels-idx1-ubyte.gz")) for part in ("train", "t10k"))
    train, valid = _held_out(classes, source)
    return train, valid, test


@functools.lru_cache(maxsize=4)
def binarised(name: str, binarisation: Binarisation) -> Splits:
    """Images as a protocol wants them.

    - ``none``: grey, as they are.
    - ``threshold``: whether a pixel is above one half.
    - ``fixed``: each pixel drawn once with its grey level as probability: of Omniglot as by Tucker et al. (2017),
      of others by seed ``FIXED_SEED``. ``binarised_mnist`` is binary in every case, as published.
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
    fixed = _FIXED.get(name, _drawn_once)(grey)
    return fixed if binarisation == "fixed" else fixed._replace(train=grey.train)


def draw(grey: Tensor, generator: torch.Generator) -> Tensor:
    """Binary images drawn with the grey levels as probabilities."""
    u = torch.rand(grey.shape, dtype=grey.dtype, device=grey.device, generator=generator)
    return (u < grey).to(grey.dtype)


def squares(pixels: Tensor) -> Tensor:
    """Pixels along the last dimension as square images: ``(..., height, width)``."""
    side = math.isqrt(pixels.shape[-1])
    return pixels.unflatten(-1, (side, side))


def _source(name: str) -> FileSource:
    if name not in SOURCES:
        raise UserError(f"unknown data set {name!r}; known: digits, {', '.join(SOURCES)}")
    return SOURCES[name]


def _checked(source: FileSource, splits: Splits) -> Splits:
    """The images, if there are as many as there should be, all in [0, 1]."""
    counts = tuple(len(x) for (x,) in splits)
    inside = all(x.min() >= 0 and x.max() <= 1 for (x,) in splits)
    if counts != source.examples or not inside:
        raise UserError(
            f"the files of {source.name} in {source.folder()} should hold {source.examples} images in [0, 1]; got "
            f"{counts} {'in' if inside else 'not in'} [0, 1]; remove them and fetch again"
        )
    return splits


def _held_out(train: Tensor, source: FileSource) -> tuple[Tensor, Tensor]:
    """The training file's examples and those at its end that are for validation."""
    end = len(train) - source.examples[1]
    return train[:end], train[end:]


def _digits() -> Splits:
    pixels = torch.tensor(_bundled().data / 16.0, dtype=torch.float32)[_digits_order()]
    return Splits(*((part,) for part in pixels.split(DIGITS_SIZES)))


def _bundled() -> Any:
    from sklearn.datasets import load_digits  # noqa: PLC0415  (slow)

    return load_digits()


def _digits_order() -> Tensor:
    """A fixed shuffle: the file is ordered by writer, and the splits are to be alike."""
    return torch.randperm(sum(DIGITS_SIZES), generator=torch.Generator().manual_seed(0))


def _idx(source: FileSource) -> Splits:
    """Images of two IDX files."""
    train, test = (_idx_images(source.read(f"{part}-images-idx3-ubyte.gz")) for part in ("train", "t10k"))
    first, last = _held_out(train, source)
    return Splits((first,), (last,), (test,))


def _idx_images(content: bytes) -> Tensor:
    """Images of an IDX file, flattened."""
    raw = np.frombuffer(content, np.uint8)
    count, rows, columns = raw[4:16].view(">i4")
    return torch.tensor(raw[16:].reshape(count, rows * columns), dtype=torch.float32) / 255


def _idx_labels(content: bytes) -> Tensor:
    """Labels of an IDX file."""
    return torch.tensor(np.frombuffer(content, np.uint8)[8:], dtype=torch.long)


def _amat(source: FileSource) -> Splits:
    """Bits in text, one image a line."""
    return Splits(*((_bits(source.read(file.name)),) for file in source.files))


def _bits(content: bytes) -> Tensor:
    values = np.frombuffer(content.translate(None, b" \t\r\n"), np.uint8) - ord("0")
    if len(values) % PIXELS:
        raise UserError(f"an image has {PIXELS} bits; got {len(values)} in all")
    return torch.tensor(values.reshape(-1, PIXELS), dtype=torch.float32)


def _omniglot(source: FileSource) -> Splits:
    """Characters in the order, upright and split as in REBAR's experiments."""
    train, test = _matrices(source.read("chardata.mat"), "data", "testdata")
    first, last = _held_out(_upright(train)[_omniglot_order(train.shape[1])], source)
    return Splits((first,), (last,), (_upright(test),))


def _matrices(content: bytes, *names: str) -> list[Any]:
    """Matrices of a MATLAB file."""
    from scipy.io import loadmat  # noqa: PLC0415  (slow)

    try:
        held = loadmat(io.BytesIO(content))  # type: ignore[arg-type]  # the stubs know no open files
        return [held[name] for name in names]
    except Exception as error:  # scipy's reader raises whatever damaged bytes lead it to
        raise UserError(f"chardata.mat is no MATLAB file of Omniglot ({error}); remove it and fetch again") from error


def _upright(columns: Any) -> Tensor:
    """Images that were stored as columns ``(pixels, examples)``, each from left to right."""
    return torch.tensor(columns.T, dtype=torch.float32).unflatten(1, (28, 28)).mT.flatten(1)


def _omniglot_order(examples: int) -> Tensor:
    return torch.tensor(np.random.RandomState(123).permutation(examples))


def _omniglot_fixed(grey: Splits) -> Splits:
    """Binarised once, before the shuffle, with REBAR's seed."""
    train, valid, test = (x for (x,) in grey)
    numbers = np.random.RandomState(5)
    u, u_test = (torch.tensor(numbers.rand(*shape)) for shape in ((len(train) + len(valid), PIXELS), test.shape))
    u = u[_omniglot_order(len(u))]
    drawn = [
        (a < b).float() for a, b in zip((*u.split([len(train), len(valid)]), u_test), (train, valid, test), strict=True)
    ]
    return Splits(*((x,) for x in drawn))


def _drawn_once(grey: Splits) -> Splits:
    generator = torch.Generator().manual_seed(FIXED_SEED)
    return Splits(*((draw(x, generator),) for (x,) in grey))


_LOADERS: dict[str, Callable[[FileSource], Splits]] = {
    "mnist": _idx,
    "fashion_mnist": _idx,
    "omniglot": _omniglot,
    "binarised_mnist": _amat,
}
_FIXED: dict[str, Callable[[Splits], Splits]] = {"omniglot": _omniglot_fixed}
