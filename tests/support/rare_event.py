"""One bit at a given logit, whose cost takes two values: what is true of it is known in closed form."""

import math

import torch
from torch import nn

from estbench.core.node import Bernoulli
from estbench.core.task import Splits, Task


class RareEvent(Task):
    """One bit.

    Args:
        logit: of the bit.
    """

    objective = "loss"
    baseline = "rloo"
    oracle = "exact"
    batch_size = 1

    def __init__(self, logit: float = 6.0) -> None:
        self.logit = logit

    @property
    def costs(self) -> tuple[float, float]:
        """Of 0 and of 1."""
        return 2 * math.tanh(-0.4) + 0.6, 2 * math.tanh(1.1) + 0.6

    @property
    def gradient(self) -> float:
        """The true gradient with respect to the logit."""
        off, on = self.costs
        return (on - off) * math.exp(-self.logit) / (1 + math.exp(-self.logit)) ** 2

    def model(self) -> nn.Module:
        return _Bit(self.logit)

    def splits(self) -> Splits:
        return Splits.without_data()


class _Bit(nn.Module):
    def __init__(self, logit: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([logit]))

    def forward(self, x):
        def program(sample):
            b, _ = sample("b", Bernoulli(self.logits.expand(len(x), -1)))
            return (2 * (1.5 * b - 0.4).tanh() + 0.6).sum(-1)

        return program
