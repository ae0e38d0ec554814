r"""Polynomial programming: many independent binary variables, each of which should become 0.

.. math:: \min_\theta \; \mathbb E \, \tfrac1L \sum_i |z_i - t|^p, \qquad z_i \in \{0, 1\}

with :math:`t = .45`; :math:`z_i` is the first entry of a one-hot vector of two classes. A minibatch is a number of
samples at the same :math:`\theta`, whose initial values are uniform in (-.01, .01). The expected cost is close to
:math:`((1-t)^p + t^p) / 2` at the start, and its minimum is :math:`t^p`. The authors train with Adam at a learning rate
of .001 for 8,000 steps.

Reference: Liu, Dong, Liu, Yu & Gao (2023), section 5.1, https://arxiv.org/abs/2304.08612
"""

from typing import Literal

import torch
from torch import Tensor, nn

from estbench.core.node import Bernoulli, Categorical, Node
from estbench.core.program import Program, Sample
from estbench.core.task import Batch, Method, Splits, Task


class Polynomial(Task):
    """Polynomial programming; the task has no data.

    Args:
        power: the power p; the paper has 1.5, 2 and 3.
        target: the target t.
        units: the number L of variables.
        latents: ``categorical``, one-hot vectors of two classes as in the paper, or ``bernoulli``.
        batch_size: number of samples per training step.
        optimizer: ``sgd`` (momentum 0.9), ``adam``, ``radam`` or ``rmsprop``.
        learning_rate: learning rate of the optimiser.
    """

    objective = "loss"
    baseline = "rloo"
    oracle = "exact"

    def __init__(
        self,
        power: float = 2.0,
        target: float = 0.45,
        units: int = 128,
        latents: Literal["categorical", "bernoulli"] = "categorical",
        batch_size: int = 64,
        optimizer: Method = "adam",
        learning_rate: float = 1e-3,
    ) -> None:
        if not power >= 1 or not 0 <= target <= 1 or units < 1 or batch_size < 1:
            raise ValueError(
                "polynomial programming needs power >= 1, a target in [0, 1], units >= 1 and batch_size >= 1; got "
                f"{power=}, {target=}, {units=}, {batch_size=}"
            )
        self.power, self.target, self.units, self.latents = power, target, units, latents
        self.batch_size, self.optimizer, self.learning_rate = batch_size, optimizer, learning_rate

    def model(self) -> nn.Module:
        return _Powers(self.power, self.target, (self.units, 2) if self.latents == "categorical" else (self.units,))

    def splits(self) -> Splits:
        return Splits.without_data(self.batch_size)

    def closed_form(self, model: nn.Module, batch: Batch) -> Program:
        assert isinstance(model, _Powers)
        return model.expected(*batch)


class _Powers(nn.Module):
    def __init__(self, power: float, target: float, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.empty(shape).uniform_(-0.01, 0.01))
        self.power, self.target = power, target

    def node(self, x: Tensor) -> Node:
        logits = self.logits.expand(len(x), *self.logits.shape)
        return Categorical(logits) if self.logits.ndim == 2 else Bernoulli(logits)

    def entries(self, value: Tensor) -> Tensor:
        """The variables z, ``(*samples, batch, units)``."""
        return value[..., 0] if self.logits.ndim == 2 else value

    def forward(self, x: Tensor) -> Program:
        def program(sample: Sample) -> Tensor:
            z, _ = sample("z", self.node(x))
            return (self.entries(z) - self.target).abs().pow(self.power).mean(-1)

        return program

    def expected(self, x: Tensor) -> Program:
        """The cost as a function that is linear between bits, so its value at the mean is the expected cost."""

        def program(sample: Sample) -> Tensor:
            z, _ = sample("z", self.node(x))
            z = self.entries(z)
            return (z * (1 - self.target) ** self.power + (1 - z) * self.target**self.power).mean(-1)

        return program
