r"""Gaussian: the mean of a cost over independent normal variables, in three forms, the last of which has jumps.

.. math:: \min_{\mu, \sigma} \; \mathbb E \, \tfrac1D \sum_i f(z_i), \qquad z_i \sim \mathcal N(\mu_i, \sigma_i^2)

- ``quadratic``: :math:`(z - t)^2`, with the expectation :math:`(\mu - t)^2 + \sigma^2`;
- ``exponential``: :math:`e^{z - t}`, with :math:`e^{\mu - t + \sigma^2 / 2}`;
- ``step``: :math:`1[z < t]`, with :math:`\Phi((t - \mu) / \sigma)`. Its derivative is 0 almost everywhere, so that
  ``reparameterisation`` gives 0, a bias of 100 %, while score functions and ``measure_valued`` are unbiased.

Nothing can be enumerated here, so that the reference gradient is estimated by the baseline.

Reference: Mohamed, Rosca, Figurnov & Mnih (2020), section 3, https://arxiv.org/abs/1906.10652
"""

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from estbench.core.node import Normal
from estbench.core.program import Program, Sample
from estbench.core.task import Batch, Method, Splits, Task

Form: TypeAlias = Literal["quadratic", "exponential", "step"]


class Gaussian(Task):
    """Normal variables; it has no data.

    Args:
        cost: ``quadratic``, ``exponential`` or ``step``.
        target: t.
        units: number of variables.
        loc: where the means start.
        scale: where the standard deviations start.
        optimizer: ``sgd`` (momentum 0.9), ``adam``, ``radam`` or ``rmsprop``.
        learning_rate: of the optimiser.
    """

    objective = "loss"
    baseline = "measure_valued"
    batch_size = 1

    def __init__(
        self,
        cost: Form = "quadratic",
        target: float = 0.45,
        units: int = 5,
        loc: float = 0.0,
        scale: float = 1.0,
        optimizer: Method = "adam",
        learning_rate: float = 0.01,
    ) -> None:
        if cost not in ("quadratic", "exponential", "step"):
            raise ValueError(f"the cost is quadratic, exponential or step; got {cost!r}")
        if units < 1 or not scale > 0:
            raise ValueError(f"gaussian needs units >= 1 and scale > 0; got {units=}, {scale=}")
        self.cost, self.target, self.units, self.loc, self.scale = cost, target, units, loc, scale
        self.optimizer, self.learning_rate = optimizer, learning_rate

    def model(self) -> nn.Module:
        return _Gaussian(self.cost, self.target, self.units, self.loc, self.scale)

    def splits(self) -> Splits:
        nothing = (torch.zeros(1, 0),)
        return Splits(nothing, nothing, nothing)

    def metrics(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        assert isinstance(model, _Gaussian)
        return {"expected_cost": model.expected().expand(len(batch[0]))}


class _Gaussian(nn.Module):
    def __init__(self, form: Form, target: float, units: int, loc: float, scale: float) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.full((units,), loc))
        self.log_scale = nn.Parameter(torch.full((units,), scale).log())
        self.form, self.target = form, target

    def forward(self, x: Tensor) -> Program:
        shape = (len(x), len(self.loc))

        def program(sample: Sample) -> Tensor:
            z, _ = sample("z", Normal(self.loc.expand(shape), self.log_scale.exp().expand(shape)))
            return self._each(z - self.target).mean(-1)

        return program

    def _each(self, excess: Tensor) -> Tensor:
        if self.form == "quadratic":
            return excess.square()
        if self.form == "exponential":
            return excess.exp()
        # the second term and its derivative are 0: it connects the cost with the sample for what differentiates it
        return (excess < 0).to(excess.dtype) + 0 * excess

    def expected(self) -> Tensor:
        """The expected cost, by its closed form."""
        excess, scale = self.loc - self.target, self.log_scale.exp()
        if self.form == "quadratic":
            return (excess.square() + scale.square()).mean()
        if self.form == "exponential":
            return (excess + scale.square() / 2).exp().mean()
        return torch.special.ndtr(-excess / scale).mean()
