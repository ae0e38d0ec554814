"""Multi-layer perceptrons, from which tasks build their models."""

import itertools
from collections.abc import Callable
from typing import Literal, TypeAlias

from torch import Tensor, nn

Activation: TypeAlias = Literal["leaky_relu", "relu", "tanh"]


def widths(text: int | str) -> tuple[int, ...]:
    """The widths of hidden layers: ``"512 256"`` is two.

    Raises:
        ValueError: one of them is not a positive whole number.
    """
    parts = str(text).split()
    if not all(part.isdecimal() and int(part) for part in parts):
        raise ValueError(f"'hidden' takes widths separated by spaces, such as 512 256; got {text!r}")
    return tuple(int(part) for part in parts)


def network(widths: tuple[int, ...], activation: Activation = "leaky_relu") -> nn.Sequential:
    """Linear layers of these widths with an activation between them."""
    make: dict[str, Callable[[], nn.Module]] = {
        "leaky_relu": lambda: nn.LeakyReLU(0.3),
        "relu": nn.ReLU,
        "tanh": nn.Tanh,
    }
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), make[activation]()]
    return nn.Sequential(*layers[:-1])


def output_bias(network: nn.Sequential) -> Tensor:
    """The bias of the last layer of a network, ``(outputs,)``."""
    last = network[-1]
    assert isinstance(last, nn.Linear)
    return last.bias
