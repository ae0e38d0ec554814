"""Small networks and running statistics of estimators, and ways to differentiate functions that use them."""

import math
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from estbench.core.node import Node

T = TypeVar("T")


def mlp(inputs: int, hidden: tuple[int, ...], like: Tensor, activation: type[nn.Module] = nn.Tanh) -> nn.Module:
    """A network ``(*batch, inputs)`` to ``(*batch,)`` that starts at zero, on the device and dtype of ``like``."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(inputs, width), activation()]
        inputs = width
    last = nn.Linear(inputs, 1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last, _Scalar()).to(like)


class _Scalar(nn.Module):
    """Drops the last dimension, of size one."""

    def forward(self, values: Tensor) -> Tensor:
        return values.squeeze(-1)


class MovingAverage(nn.Module):
    """Exponential moving average of a scalar; at first, the plain average of the values so far.

    Args:
        decay: how much of the average is kept at each update, in [0, 1).
    """

    value: Tensor
    updates: Tensor

    def __init__(self, decay: float) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"a moving average decays by a factor in [0, 1); got {decay}")
        self.decay = decay
        self.register_buffer("value", torch.zeros(()))
        self.register_buffer("updates", torch.zeros(()))

    def update(self, observed: Tensor) -> None:
        """Updates the average with one more observation."""
        self.updates += 1
        self.value += (1 / self.updates).clamp_min(1 - self.decay) * (observed - self.value)


class RunningDeviation(nn.Module):
    """Variance normalisation: divides by the running root mean square of earlier values if that is above 1.

    Args:
        decay: how much of the running mean square is kept at each update, in [0, 1).

    Reference: Mnih & Gregor (2014), https://arxiv.org/abs/1402.0030
    """

    def __init__(self, decay: float = 0.9) -> None:
        super().__init__()
        self.square = MovingAverage(decay)

    def forward(self, values: Tensor) -> Tensor:
        """The values, divided."""
        return values / self.square.value.sqrt().clamp_min(1)

    def update(self, square: Tensor) -> None:
        """Updates the running mean square with the values of one more step."""
        self.square.update(square)


class Standardiser(nn.Module):
    """Centres by the running mean of earlier values and divides by the running deviation from it.

    Args:
        decay: how much of mean and deviation is kept at each step, in [0, 1).
    """

    def __init__(self, decay: float = 0.9) -> None:
        super().__init__()
        self.centre, self.deviation = MovingAverage(decay), RunningDeviation(decay)

    def forward(self, values: Tensor) -> Tensor:
        """The values, standardised."""
        return self.deviation(values - self.centre.value)

    def update(self, values: Tensor) -> None:
        """Updates mean and deviation with the values of one more step."""
        excess = values - self.centre.value
        self.centre.update(values.mean())
        self.deviation.update(excess.square().mean())


class Annealed(nn.Module):
    """A temperature that decays exponentially in steps down to a floor; constant if the rate is 0.

    Args:
        start: temperature at the first step.
        rate: the rate of decay per training step.
        floor: the smallest temperature.
        every: how many training steps pass between updates.
    """

    steps: Tensor

    def __init__(self, start: float, rate: float, floor: float, every: int) -> None:
        super().__init__()
        if rate < 0 or every < 1:
            raise ValueError(f"a temperature falls at a rate from 0, every 1 step or more; got {rate}, {every}")
        if rate and not 0 < floor <= start:
            raise ValueError(f"a temperature falls from its start to a floor in (0, {start}]; got {floor}")
        self.start, self.rate, self.floor, self.every = start, rate, floor, every
        self.falls = rate > 0
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def advance(self) -> None:
        """Counts one more training step, if the temperature decays."""
        if self.falls:
            self.steps += 1

    def value(self, like: Tensor) -> Tensor:
        """The current temperature, a scalar on the device and in the dtype of ``like``."""
        if not self.falls:
            return scalar(self.start, like)
        stair = (self.steps // self.every * self.every).to(like)
        return (self.start * torch.exp(-self.rate * stair)).clamp_min(self.floor)


def scalar(value: float | Tensor, like: Tensor) -> Tensor:
    """The number as a tensor on the device and in the dtype of ``like``; in an ensemble it may already be a tensor."""
    return value.to(like) if isinstance(value, Tensor) else like.new_full((), value)


class PerNode(nn.ModuleDict):
    """One network per node of a program, found by the node's name."""

    def of(self, name: str, owner: nn.Module) -> nn.Module:
        """The network of a node.

        Raises:
            RuntimeError: the estimator was not prepared for this program.
        """
        if name not in self:
            raise RuntimeError(
                f"{type(owner).__name__} keeps a network per node and has none for {name!r}; call "
                f"estimator.prepare(program) first, before making an optimiser"
            )
        return self[name]


def features(node: Node) -> int:
    """The number of entries of one value of a node."""
    return math.prod(node.event_shape)


class _Caller(nn.Module):
    """Lets ``functional_call`` call any function that uses a module's parameters."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, function: Callable[[], T]) -> T:
        return function()


def with_parameters(module: nn.Module, parameters: Mapping[str, Tensor], function: Callable[[], T]) -> T:
    """Calls ``function`` with the module's parameters replaced by the given ones."""
    return functional_call(_Caller(module), {f"module.{k}": v for k, v in parameters.items()}, (function,))
