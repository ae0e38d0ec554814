r"""Sigmoid belief net: two small layers of latents whose exact gradient can be enumerated.

.. math:: \mathrm{ELBO} = \mathbb E_{q(z_1|x)\,q(z_2|z_1)}
    \log \frac{p(z_2)\,p(z_1|z_2)\,p(x|z_1)}{q(z_1|x)\,q(z_2|z_1)}

All maps are linear, as in Mnih & Gregor (2014), https://arxiv.org/abs/1402.0030. The oracle for estimators of
several layers.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from estbench import data
from estbench.node import Bernoulli, Categorical, Node
from estbench.program import Program, Sample
from estbench.task import Batch, Splits, Task


class SigmoidBeliefNet(Task):
    """A two-layer belief net on images.

    Args:
        latents: ``bernoulli`` or ``categorical``.
        units: variables per layer.
        classes: of a categorical variable.
        dataset: ``digits`` or ``mnist``.
        batch_size: examples per minibatch.
        learning_rate: of Adam.
    """

    objective = "elbo"
    baseline = "rloo"
    oracle = "exact"

    def __init__(
        self,
        latents: Literal["bernoulli", "categorical"] = "bernoulli",
        units: int = 3,
        classes: int = 3,
        dataset: Literal["digits", "mnist"] = "digits",
        batch_size: int = 20,
        learning_rate: float = 3e-3,
    ) -> None:
        if units < 1:
            raise ValueError(f"a layer needs at least 1 unit; got {units}")
        self.latents, self.units, self.classes, self.dataset = latents, units, classes, dataset
        self.batch_size, self.learning_rate = batch_size, learning_rate

    def model(self) -> nn.Module:
        return _Net(self.units, self.classes if self.latents == "categorical" else 0, self._mean())

    def splits(self) -> Splits:
        return data.binarised(self.dataset, "dynamic")

    def view(self, batch: Batch, generator: torch.Generator) -> Batch:
        return (data.draw(batch[0], generator),)

    def _mean(self) -> Tensor:
        return data.images(self.dataset).train[0].mean(0)


class _Layer(nn.Module):
    """A linear map from values to a node."""

    def __init__(self, inputs: int, units: int, classes: int) -> None:
        super().__init__()
        self.shape = (units, classes) if classes else (units,)
        self.linear = nn.Linear(inputs, units * (classes or 1))

    def forward(self, values: Tensor) -> Node:
        logits = self.linear(values).unflatten(-1, self.shape)
        return Categorical(logits, values) if len(self.shape) == 2 else Bernoulli(logits, values)


class _Net(nn.Module):
    mean: Tensor

    def __init__(self, units: int, classes: int, mean: Tensor) -> None:
        super().__init__()
        pixels, width = len(mean), units * (classes or 1)
        self.event_ndim = 2 if classes else 1
        self.register_buffer("mean", mean)
        self.encoder = nn.ModuleList([_Layer(pixels, units, classes), _Layer(width, units, classes)])
        self.decoder = nn.ModuleList([_Layer(width, pixels, 0), _Layer(width, units, classes)])
        self.prior = nn.ParameterList([torch.zeros(units, classes) if classes else torch.zeros(units)])
        with torch.no_grad():
            self.decoder[0].linear.bias.copy_(mean.clamp(0.01, 0.99).logit())

    def forward(self, x: Tensor) -> Program:
        first = self.encoder[0](x - self.mean)

        def program(sample: Sample) -> Tensor:
            z1, log_q1 = sample("z1", first)
            below = z1.flatten(-self.event_ndim)
            z2, log_q2 = sample("z2", self.encoder[1](below))
            kind = type(first)
            log_p2 = kind(self.prior[0]).log_prob(z2)
            log_p1 = self.decoder[1](z2.flatten(-self.event_ndim)).log_prob(z1)
            log_px = self.decoder[0](below).log_prob(x)
            return log_q1 + log_q2 - log_p2 - log_p1 - log_px

        return program
