"""Readers of the files of data sets, which return images and labels."""

import io
from importlib import resources
from typing import Any

import numpy as np
import torch
from torch import Tensor

from estbench.core.task import Splits
from estbench.data.sources import FileSource
from estbench.errors import UserError

PIXELS = 784
DIGITS_SIZES = [1197, 300, 300]


def digits() -> Splits:
    """Images of the embedded digits, ``(examples, 64)`` in [0, 1]."""
    pixels = torch.tensor(_embedded("images") / 16.0, dtype=torch.float32)[_digits_order()]
    return Splits(*((part,) for part in pixels.split(DIGITS_SIZES)))


def digits_labels() -> tuple[Tensor, Tensor, Tensor]:
    """Classes of the embedded digits, ``(examples,)`` int64."""
    classes = torch.tensor(_embedded("labels"), dtype=torch.long)[_digits_order()]
    train, valid, test = classes.split(DIGITS_SIZES)
    return train, valid, test


def _embedded(name: str) -> Any:
    """An array of the embedded digits, which are part of the package because scikit-learn takes seconds to import.

    Their source and their licence are stated in docs/reference/tasks.md.
    """
    with resources.files(__package__).joinpath("digits.npz").open("rb") as file, np.load(file) as arrays:
        return arrays[name]


def _digits_order() -> Tensor:
    """A fixed permutation: the file is ordered by writer, and all splits should have the same distribution."""
    return torch.randperm(sum(DIGITS_SIZES), generator=torch.Generator().manual_seed(0))


def idx(source: FileSource) -> Splits:
    """Images of two IDX files."""
    train, test = (_images(source.read(f"{part}-images-idx3-ubyte.gz")) for part in ("train", "t10k"))
    first, last = held_out(train, source)
    return Splits((first,), (last,), (test,))


def _images(content: bytes) -> Tensor:
    """Images of an IDX file, flattened."""
    raw = np.frombuffer(content, np.uint8)
    count, rows, columns = raw[4:16].view(">i4")
    return torch.tensor(raw[16:].reshape(count, rows * columns), dtype=torch.float32) / 255


def idx_labels(content: bytes) -> Tensor:
    """Labels of an IDX file."""
    return torch.tensor(np.frombuffer(content, np.uint8)[8:], dtype=torch.long)


def amat(source: FileSource) -> Splits:
    """Bits as text, with one image per line."""
    return Splits(*((_bits(source.read(file.name)),) for file in source.files))


def _bits(content: bytes) -> Tensor:
    values = np.frombuffer(content.translate(None, b" \t\r\n"), np.uint8) - ord("0")
    if len(values) % PIXELS:
        raise UserError(f"an image has {PIXELS} bits; got {len(values)} in all")
    return torch.tensor(values.reshape(-1, PIXELS), dtype=torch.float32)


def omniglot(source: FileSource) -> Splits:
    """Upright characters, in the order and with the splits of REBAR's experiments."""
    train, test = _matrices(source.read("chardata.mat"), "data", "testdata")
    first, last = held_out(_upright(train)[_omniglot_order(train.shape[1])], source)
    return Splits((first,), (last,), (_upright(test),))


def _matrices(content: bytes, *names: str) -> list[Any]:
    """Matrices of a MATLAB file."""
    from scipy.io import loadmat  # noqa: PLC0415  (slow)

    try:
        held = loadmat(io.BytesIO(content))  # type: ignore[arg-type]  # the stubs know no open files
        return [held[name] for name in names]
    except Exception as error:  # scipy's reader may raise any exception for damaged files
        raise UserError(f"chardata.mat is no MATLAB file of Omniglot ({error}); remove it and fetch again") from error


def _upright(columns: Any) -> Tensor:
    """Images that were stored as columns ``(pixels, examples)``, each from left to right."""
    return torch.tensor(columns.T, dtype=torch.float32).unflatten(1, (28, 28)).mT.flatten(1)


def _omniglot_order(examples: int) -> Tensor:
    return torch.tensor(np.random.RandomState(123).permutation(examples))


def omniglot_fixed(grey: Splits) -> Splits:
    """Characters that were binarised once, before they were shuffled, with REBAR's seed."""
    train, valid, test = (x for (x,) in grey)
    numbers = np.random.RandomState(5)
    u, u_test = (torch.tensor(numbers.rand(*shape)) for shape in ((len(train) + len(valid), PIXELS), test.shape))
    u = u[_omniglot_order(len(u))]
    drawn = [
        (a < b).float() for a, b in zip((*u.split([len(train), len(valid)]), u_test), (train, valid, test), strict=True)
    ]
    return Splits(*((x,) for x in drawn))


def held_out(train: Tensor, source: FileSource) -> tuple[Tensor, Tensor]:
    """The training examples of the training file, and its last examples, which are for validation."""
    end = len(train) - source.examples[1]
    return train[:end], train[end:]
