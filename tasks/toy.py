r"""Toy: a quadratic function of independent bits, or a table of costs per class; the exact gradient is known.

Bernoulli: :math:`\mathbb E \, \tfrac1D \sum_i (b_i - t)^2`, where a bit is 1 with probability :math:`\sigma(\ell_i)`.
With :math:`t = .45` it is the toy problem of REBAR, and with :math:`t = .499` that of RELAX. With 200 units it is that
of double control variates, whose authors maximise it. Categorical:
:math:`\mathbb E \, \tfrac1D \sum_i \sum_c D_{ic} \, \mathrm{cost}_c`.

Reference: Tucker et al. (2017), https://arxiv.org/abs/1703.07370; Grathwohl et al. (2018),
https://arxiv.org/abs/1711.00123; Titsias & Shi (2022), https://arxiv.org/abs/2111.05300
"""

from typing import Literal

import torch
from torch import Tensor, nn

from estbench.core.node import Bernoulli, Categorical
from estbench.core.program import Program, Sample
from estbench.core.task import Batch, Method, Splits, Task


class Toy(Task):
    r"""The toy problem; the task has no data.

    Args:
        latents: ``bernoulli`` or ``categorical``.
        target: the target :math:`t` of the quadratic.
        units: number of variables.
        costs: cost per class of the categorical toy, separated by spaces.
        sense: ``minimise`` or ``maximise``; the latter changes the sign of the cost.
        initial_logits: initial value of Bernoulli logits; categorical logits start at this value times the class index.
        optimizer: ``sgd`` (momentum 0.9), ``adam``, ``radam`` or ``rmsprop``.
        learning_rate: learning rate of the optimiser.
    """

    objective = "loss"
    baseline = "rloo"
    oracle = "exact"
    batch_size = 1

    def __init__(
        self,
        latents: Literal["bernoulli", "categorical"] = "bernoulli",
        target: float = 0.45,
        units: int = 1,
        costs: str = "0.3 0.5 0.1",
        sense: Literal["minimise", "maximise"] = "minimise",
        initial_logits: float = 0.0,
        optimizer: Method = "adam",
        learning_rate: float = 0.01,
    ) -> None:
        if units < 1:
            raise ValueError(f"the toy needs at least 1 unit; got {units}")
        self.latents, self.target, self.units = latents, target, units
        self.costs = tuple(float(cost) for cost in costs.split())
        self.sign = 1.0 if sense == "minimise" else -1.0
        self.initial_logits, self.optimizer, self.learning_rate = initial_logits, optimizer, learning_rate

    def model(self) -> nn.Module:
        if self.latents == "bernoulli":
            return _Quadratic(self.units, self.target, self.sign, self.initial_logits)
        return _CategoricalToy(self.units, tuple(self.sign * cost for cost in self.costs), self.initial_logits)

    def splits(self) -> Splits:
        return Splits.without_data()

    def closed_form(self, model: nn.Module, batch: Batch) -> Program:
        return model.expected(*batch) if isinstance(model, _Quadratic) else model(*batch)


class _Quadratic(nn.Module):
    def __init__(self, units: int, target: float, sign: float, initial: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.full((units,), initial))
        self.target, self.sign = target, sign

    def node(self, x: Tensor) -> Bernoulli:
        return Bernoulli(self.logits.expand(len(x), -1))

    def forward(self, x: Tensor) -> Program:
        def program(sample: Sample) -> Tensor:
            b, _ = sample("b", self.node(x))
            return self.sign * (b - self.target).square().mean(-1)

        return program

    def expected(self, x: Tensor) -> Program:
        """The cost as a function that is linear between bits, so its value at the mean is the expected cost."""

        def program(sample: Sample) -> Tensor:
            b, _ = sample("b", self.node(x))
            return self.sign * (b * (1 - self.target) ** 2 + (1 - b) * self.target**2).mean(-1)

        return program


class _CategoricalToy(nn.Module):
    costs: Tensor

    def __init__(self, units: int, costs: tuple[float, ...], initial: float) -> None:
        super().__init__()
        if len(costs) < 2:
            raise ValueError(f"the categorical toy needs the costs of at least 2 classes; got {costs}")
        start = initial * torch.arange(len(costs), dtype=torch.get_default_dtype())
        self.logits = nn.Parameter(start.repeat(units, 1))
        self.register_buffer("costs", torch.tensor(costs))

    def forward(self, x: Tensor) -> Program:
        def program(sample: Sample) -> Tensor:
            hot, _ = sample("d", Categorical(self.logits.expand(len(x), -1, -1)))
            return (hot * self.costs).sum(-1).mean(-1)

        return program
