"""Data sets: images in [0, 1], split and binarised as the protocols of papers require."""

import functools
import math
from collections.abc import Callable
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from estbench.core.task import Splits
from estbench.data import readers
from estbench.data.sources import BINARISED_MNIST, FASHION_MNIST, MNIST, OMNIGLOT, FileSource
from estbench.errors import UserError

Dataset: TypeAlias = Literal["digits", "mnist", "fashion_mnist", "omniglot", "binarised_mnist"]
Binarisation: TypeAlias = Literal["dynamic", "fixed", "threshold", "none"]

SOURCES = {source.name: source for source in (MNIST, FASHION_MNIST, OMNIGLOT, BINARISED_MNIST)}
LABELLED = ("digits", "mnist", "fashion_mnist")
DIGITS_NOTE = "handwritten digits, embedded, 8x8 grey; 1,197 / 300 / 300"
FIXED_SEED = 20170424


@functools.lru_cache(maxsize=2)
def images(name: str) -> Splits:
    """Images of a data set as ``(examples, pixels)`` float32 in [0, 1].

    They are in the order of its files, except for Omniglot, which is shuffled and split as in Tucker et al. (2017),
    https://arxiv.org/abs/1703.07370.

    Raises:
        UserError: the data set is unknown or not available.
    """
    if name == "digits":
        return readers.digits()
    source = _source(name)
    return _checked(source, _LOADERS[name](source))


@functools.lru_cache(maxsize=2)
def labels(name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Classes 0 to 9 of the images of training, validation and test set, each ``(examples,)`` int64.

    Raises:
        UserError: the data set is unknown, has no labels, or is not available.
    """
    if name not in LABELLED:
        raise UserError(f"no labels of a data set {name!r}; known: {', '.join(LABELLED)}")
    if name == "digits":
        return readers.digits_labels()
    source = _source(name)
    classes, test = (readers.idx_labels(source.read(f"{part}-labels-idx1-ubyte.gz")) for part in ("train", "t10k"))
    train, valid = readers.held_out(classes, source)
    return train, valid, test


@functools.lru_cache(maxsize=4)
def binarised(name: str, binarisation: Binarisation) -> Splits:
    """Images with a binarisation.

    - ``none``: the grey levels.
    - ``threshold``: whether a pixel is above one half.
    - ``fixed``: each pixel is drawn once with its grey level as probability. For Omniglot this is done as in Tucker et
      al. (2017), for other data sets with the seed ``FIXED_SEED``. ``binarised_mnist`` is binary in every case, as
      published.
    - ``dynamic``: like ``fixed`` for validation and test images; training images keep their grey levels, and ``draw``
      binarises each minibatch again.

    Raises:
        UserError: the data set is unknown or not available.
    """
    grey = images(name)
    if binarisation == "none":
        return grey
    if binarisation == "threshold":
        return Splits(*(((x > 0.5).float(),) for (x,) in grey))
    fixed = _FIXED.get(name, _drawn_once)(grey)
    return fixed if binarisation == "fixed" else fixed._replace(train=grey.train)


def draw(grey: Tensor, generator: torch.Generator) -> Tensor:
    """Binary images, sampled with the grey levels as probabilities."""
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
    """Returns the images after a check of their number and that all values are in [0, 1]."""
    counts = tuple(len(x) for (x,) in splits)
    inside = all(x.min() >= 0 and x.max() <= 1 for (x,) in splits)
    if counts != source.examples or not inside:
        raise UserError(
            f"the files of {source.name} in {source.folder()} should hold {source.examples} images in [0, 1]; got "
            f"{counts} {'in' if inside else 'not in'} [0, 1]; remove them and fetch again"
        )
    return splits


def _drawn_once(grey: Splits) -> Splits:
    generator = torch.Generator().manual_seed(FIXED_SEED)
    return Splits(*((draw(x, generator),) for (x,) in grey))


_LOADERS: dict[str, Callable[[FileSource], Splits]] = {
    "mnist": readers.idx,
    "fashion_mnist": readers.idx,
    "omniglot": readers.omniglot,
    "binarised_mnist": readers.amat,
}
_FIXED: dict[str, Callable[[Splits], Splits]] = {"omniglot": readers.omniglot_fixed}
