r"""Sigmoid belief net: layers of latent variables, each sampled given the one below it.

.. math:: \mathrm{ELBO} = \mathbb E_{q(z_1|x)\,q(z_2|z_1) \dots}
    \log \frac{p(x|z_1)\,p(z_1|z_2) \dots p(z_L)}{q(z_1|x)\,q(z_2|z_1) \dots}

The defaults are two layers that are small enough to enumerate the exact gradient, which is then the oracle for
estimators on several layers. All maps are linear, as in Mnih & Gregor (2014), https://arxiv.org/abs/1402.0030. The
input of the encoder is the image minus the mean image, and the decoder is initialised to give the mean image. The nets
of the papers:

- Gu, Levine, Sutskever & Mnih (2016), https://arxiv.org/abs/1511.05176: ``layers`` 1 to 3, ``units=200`` (for
  categorical ones ``classes=10``), ``binarisation=fixed``, ``optimizer=sgd``, ``batch_size=100``.
- Tucker, Mnih, Maddison, Lawson & Sohl-Dickstein (2017), https://arxiv.org/abs/1703.07370: ``layers`` 1 or 2, or one
  with ``hidden=200 200``; ``units=200``, ``signed=true``, ``binarisation=fixed``, ``batch_size=24``,
  ``second_moment=0.99999``.
"""

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from estbench.core.node import Bernoulli, Categorical, Node
from estbench.core.perceptron import Activation, network, output_bias, widths
from estbench.core.program import Program, Sample
from estbench.core.task import Batch, Method, Splits
from estbench.data import datasets
from estbench.data.image_task import ImageTask, pixel_logits


class SigmoidBeliefNet(ImageTask):
    """A belief net on images.

    Args:
        latents: ``bernoulli`` or ``categorical``.
        layers: number of layers of latent variables.
        units: number of variables per layer.
        classes: number of classes of a categorical variable.
        hidden: widths of hidden layers between one layer of latent variables and the next, separated by spaces.
        activation: activation of hidden units; ``leaky_relu`` has slope 0.3.
        signed: whether the next layer receives samples as 2 z - 1.
        prior: prior of the top layer, ``learned`` or ``fixed`` (uniform).
        dataset: a data set of images; ``estbench data list`` names them.
        binarisation: ``dynamic``, ``fixed`` or ``threshold``.
        batch_size: number of examples per minibatch.
        optimizer: ``sgd`` (momentum 0.9), ``adam``, ``radam`` or ``rmsprop``.
        learning_rate: learning rate of the optimiser.
        second_moment: decay of the mean squared gradient in Adam and RAdam.
    """

    objective = "elbo"
    baseline = "rloo"
    oracle = "exact"

    def __init__(
        self,
        latents: Literal["bernoulli", "categorical"] = "bernoulli",
        layers: int = 2,
        units: int = 3,
        classes: int = 3,
        hidden: int | str = "",
        activation: Activation = "tanh",
        signed: bool = False,
        prior: Literal["learned", "fixed"] = "learned",
        dataset: datasets.Dataset = "digits",
        binarisation: Literal["dynamic", "fixed", "threshold"] = "dynamic",
        batch_size: int = 20,
        optimizer: Method = "adam",
        learning_rate: float = 3e-3,
        second_moment: float = 0.999,
    ) -> None:
        if layers < 1 or units < 1 or classes < 2 or batch_size < 1:
            raise ValueError(
                f"a belief net needs layers >= 1, units >= 1, classes >= 2 and batch_size >= 1; got {layers=}, "
                f"{units=}, {classes=}, {batch_size=}"
            )
        self.shape = (units, classes) if latents == "categorical" else (units,)
        self.layers, self.hidden, self.activation = layers, widths(hidden), activation
        self.signed, self.prior = signed, prior
        self.dataset, self.binarisation, self.batch_size = dataset, binarisation, batch_size
        self.optimizer, self.learning_rate, self.second_moment = optimizer, learning_rate, second_moment

    def model(self) -> nn.Module:
        mean = datasets.images(self.dataset).train[0].mean(0)
        pixels, width = len(mean), math.prod(self.shape)

        def layer(inputs: int, shape: tuple[int, ...]) -> _StochasticLayer:
            return _StochasticLayer(network((inputs, *self.hidden, math.prod(shape)), self.activation), shape)

        above = range(self.layers - 1)
        encoder = [layer(pixels, self.shape), *(layer(width, self.shape) for _ in above)]
        decoder = [layer(width, (pixels,)), *(layer(width, self.shape) for _ in above)]
        with torch.no_grad():
            output_bias(decoder[0].network).copy_(pixel_logits(mean))
        prior = nn.Parameter(torch.zeros(self.shape), requires_grad=self.prior == "learned")
        return _BeliefNet(mean, encoder, decoder, prior, signed=self.signed)

    def splits(self) -> Splits:
        return self.binarised()

    def pictures(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        return model.pictures(*batch) if isinstance(model, _BeliefNet) else {}


class _StochasticLayer(nn.Module):
    """Maps the values of a layer to the node of the next one, with this event shape."""

    def __init__(self, network: nn.Sequential, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.network, self.shape = network, shape

    def forward(self, values: Tensor) -> Node:
        logits = self.network(values).unflatten(-1, self.shape)
        return Categorical(logits, values) if len(self.shape) == 2 else Bernoulli(logits, values)


class _BeliefNet(nn.Module):
    mean: Tensor

    def __init__(
        self,
        mean: Tensor,
        encoder: list[_StochasticLayer],
        decoder: list[_StochasticLayer],
        prior: nn.Parameter,
        *,
        signed: bool,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.encoder, self.decoder = nn.ModuleList(encoder), nn.ModuleList(decoder)
        self.prior, self.signed = nn.ParameterList([prior]), signed

    def fed(self, z: Tensor) -> Tensor:
        """A layer's values as the input of the next network, ``(*samples, batch, entries)``."""
        flat = z.flatten(-self.prior[0].ndim)
        return 2 * flat - 1 if self.signed else flat

    def top(self, *batch: int) -> Node:
        """The top layer's prior for a batch of this shape."""
        logits = self.prior[0].expand(*batch, *self.prior[0].shape)
        return Categorical(logits) if self.prior[0].ndim == 2 else Bernoulli(logits)

    def pictures(self, x: Tensor) -> Mapping[str, Tensor]:
        drawn = self.top(2, len(x)).sample()
        for layer in self.decoder[:0:-1]:
            drawn = layer(self.fed(drawn)).sample()
        seen = self.encoder[0](x - self.mean).sample()
        below = torch.stack([x, self.decoder[0](self.fed(seen)).mean])
        return {
            "random codes, decoded": datasets.squares(self.decoder[0](self.fed(drawn)).mean),
            "originals above, reconstructions below": datasets.squares(below),
        }

    def forward(self, x: Tensor) -> Program:
        first = self.encoder[0](x - self.mean)

        def program(sample: Sample) -> Tensor:
            z, log_q = sample("z1", first)
            cost = log_q - self.decoder[0](self.fed(z)).log_prob(x)
            for index in range(1, len(self.encoder)):
                above, log_q = sample(f"z{index + 1}", self.encoder[index](self.fed(z)))
                cost = cost + log_q - self.decoder[index](self.fed(above)).log_prob(z)
                z = above
            return cost - self.top().log_prob(z)

        return program
