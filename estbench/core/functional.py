"""Functions of logits, exact in float64 and fast for few classes."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)

from estbench.core.transforms import transformed

FEW = 2048
# torch's default threshold of 20 loses nine digits in float64
softplus = partial(F.softplus, threshold=40.0)


def softmax(logits: Tensor) -> Tensor:
    """Softmax over the last dimension, fast for few classes too."""
    return _over_classes(torch.softmax, logits)


def log_softmax(logits: Tensor) -> Tensor:
    """Logarithm of the softmax over the last dimension, fast for few classes too."""
    return _over_classes(torch.log_softmax, logits)


def _many(logits: Tensor) -> bool:
    # under a transform the tensor may be many times as large as it seems
    return logits.numel() >= FEW or transformed()


def _over_classes(function: Callable[[Tensor, int], Tensor], logits: Tensor) -> Tensor:
    # on a CPU torch vectorises over the last dimension from 16 entries on, and over the others always: with 10 classes
    # that is six times faster, unless there are so few logits that two transpositions take longer than the function
    if logits.device.type == "cpu" and logits.ndim > 1 and logits.shape[-1] < 16 and _many(logits):
        return function(logits.transpose(-1, -2), -2).transpose(-1, -2)
    return function(logits, -1)
