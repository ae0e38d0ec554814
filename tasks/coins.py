r"""Coins: bits that share one logit, whose cost is their squared distance from a target.

.. math:: \mathbb E \, \lVert b - p_0 \rVert^2, \qquad b_i \sim \mathrm{Bernoulli}(\sigma(\eta))

At the default :math:`p_0 = (.6, .51, .48)` the gradient at :math:`\eta = 0` is -.045, and the smallest cost is .6705,
at :math:`b = (1, 1, 1)`. The shared logit is the encoder: the results have rows for its gradient beside those for the
three logits.

Reference: Liu et al. (2019), https://arxiv.org/abs/1810.04777; Kool, van Hoof & Welling (2020),
https://arxiv.org/abs/2002.06043
"""

import torch
from torch import Tensor, nn

from estbench.core.node import Bernoulli
from estbench.core.program import Program, Sample
from estbench.core.task import Batch, Method, Splits, Task


class Coins(Task):
    r"""Coins that share one logit; the task has no data.

    Args:
        targets: the target :math:`p_0`, with one entry per coin, separated by spaces.
        initial_logit: initial value of :math:`\eta`.
        optimizer: ``sgd`` (momentum 0.9), ``adam``, ``radam`` or ``rmsprop``.
        learning_rate: learning rate of the optimiser.
    """

    objective = "loss"
    baseline = "rloo"
    oracle = "exact"
    batch_size = 1

    def __init__(
        self,
        targets: str = "0.6 0.51 0.48",
        initial_logit: float = 0.0,
        optimizer: Method = "adam",
        learning_rate: float = 0.01,
    ) -> None:
        self.targets = tuple(float(target) for target in targets.split())
        if not self.targets:
            raise ValueError(f"there must be at least 1 coin; got {targets=}")
        self.initial_logit, self.optimizer, self.learning_rate = initial_logit, optimizer, learning_rate

    def model(self) -> nn.Module:
        return _Shared(self.targets, self.initial_logit)

    def splits(self) -> Splits:
        return Splits.without_data()

    def closed_form(self, model: nn.Module, batch: Batch) -> Program:
        assert isinstance(model, _Shared)
        return model.expected(*batch)


class _Shared(nn.Module):
    targets: Tensor

    def __init__(self, targets: tuple[float, ...], initial: float) -> None:
        super().__init__()
        self.encoder = nn.ParameterDict({"logit": torch.full((), initial)})
        self.register_buffer("targets", torch.tensor(targets))

    def node(self, x: Tensor) -> Bernoulli:
        return Bernoulli(self.encoder["logit"].expand(len(x), len(self.targets)))

    def forward(self, x: Tensor) -> Program:
        def program(sample: Sample) -> Tensor:
            b, _ = sample("b", self.node(x))
            return (b - self.targets).square().sum(-1)

        return program

    def expected(self, x: Tensor) -> Program:
        """The cost as a function that is linear between bits, so its value at the mean is the expected cost."""

        def program(sample: Sample) -> Tensor:
            b, _ = sample("b", self.node(x))
            return (b * (1 - self.targets).square() + (1 - b) * self.targets.square()).sum(-1)

        return program
