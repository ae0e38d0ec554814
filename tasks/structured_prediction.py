r"""Structured prediction: predicts the lower half of an image from its upper half, through stochastic layers.

.. math:: -\log p(y \mid x) = -\log \mathbb E_{p(h_1|x)\,p(h_2|h_1)} \, p(y \mid h_2)

On MNIST the layers are 392-200-200-392 with Bernoulli or 392-(20x10)-(20x10)-392 with categorical variables; smaller
images use the same hidden layers.

Training draws one sample. Evaluation takes the logarithm of the mean of m likelihoods, which tends to the
log-likelihood as m grows. Jang, Gu & Poole print the formula of the mean of the logarithms, which is a bound that more
samples do not tighten. Raiko et al. and MuProp, whose experiment they continue, evaluate the logarithm of the mean, and
only this agrees with published values that depend on m.

The defaults are those of Jang, Gu & Poole: images binarised once, and SGD with momentum.

Reference: Raiko, Berglund, Alain & Dinh (2015), https://arxiv.org/abs/1406.2989; Jang, Gu & Poole (2017),
https://arxiv.org/abs/1611.01144
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from estbench.core.node import Bernoulli, Categorical, Node
from estbench.core.program import Program, Sample
from estbench.core.task import Batch, Method, Splits
from estbench.data import datasets
from estbench.data.image_task import ImageTask, latent_shape, pixel_logits


class StructuredPrediction(ImageTask):
    """Predicts the lower half of an image from its upper half.

    Args:
        dataset: a data set of images; ``estbench data list`` names them.
        latents: ``bernoulli`` or ``categorical``.
        layers: number of stochastic layers.
        units: number of variables per layer; 0 for 200 Bernoulli or 20 categorical ones.
        classes: number of classes of a categorical variable.
        binarisation: ``fixed``, ``dynamic`` or ``threshold``.
        batch_size: number of examples per minibatch.
        optimizer: ``sgd`` (momentum 0.9), ``adam``, ``radam`` or ``rmsprop``.
        learning_rate: learning rate of the optimiser.
    """

    objective = "nll"
    baseline = "rloo"
    oracle = "exact"

    def __init__(
        self,
        dataset: datasets.Dataset = "digits",
        latents: Literal["bernoulli", "categorical"] = "bernoulli",
        layers: int = 2,
        units: int = 0,
        classes: int = 10,
        binarisation: Literal["dynamic", "fixed", "threshold"] = "fixed",
        batch_size: int = 100,
        optimizer: Method = "sgd",
        learning_rate: float = 1e-3,
    ) -> None:
        if layers < 1 or units < 0 or classes < 2 or batch_size < 1:
            raise ValueError(
                f"structured prediction needs layers >= 1, units >= 0, classes >= 2 and batch_size >= 1; got "
                f"{layers=}, {units=}, {classes=}, {batch_size=}"
            )
        self.dataset, self.binarisation, self.layers = dataset, binarisation, layers
        self.batch_size, self.optimizer, self.learning_rate = batch_size, optimizer, learning_rate
        self.shape = latent_shape(latents, units, classes)

    def model(self) -> nn.Module:
        return _CompletionNet(datasets.images(self.dataset).train[0].mean(0), self.shape, self.layers)

    def splits(self) -> Splits:
        return self.binarised()

    def effective(self) -> Mapping[str, Any]:
        return {"units": self.shape[0]}

    def pictures(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        return model.pictures(*batch) if isinstance(model, _CompletionNet) else {}


class _CompletionNet(nn.Module):
    mean: Tensor

    def __init__(self, mean: Tensor, shape: tuple[int, ...], layers: int) -> None:
        super().__init__()
        self.shape, width, half = shape, int(torch.tensor(shape).prod()), len(mean) // 2
        self.register_buffer("mean", mean[:half])
        self.encoder = nn.ModuleList([nn.Linear(inputs, width) for inputs in (half, *(width,) * (layers - 1))])
        self.decoder = nn.Linear(width, half)
        with torch.no_grad():
            self.decoder.bias.copy_(pixel_logits(mean[half:]))

    def layer(self, index: int, below: Tensor) -> Node:
        logits = self.encoder[index](below).unflatten(-1, self.shape)
        return Categorical(logits, below) if len(self.shape) == 2 else Bernoulli(logits, below)

    def complete(self, upper: Tensor, samples: int) -> Tensor:
        """Images with lower halves sampled for these upper halves, ``(samples, batch, pixels)``, as means of pixels."""
        below = (upper - self.mean).expand(samples, *upper.shape)
        for index in range(len(self.encoder)):
            below = self.layer(index, below).sample().flatten(-len(self.shape))
        return torch.cat([upper.expand(samples, *upper.shape), self.decoder(below).sigmoid()], -1)

    def pictures(self, x: Tensor) -> Mapping[str, Tensor]:
        drawn = self.complete(x.chunk(2, -1)[0], 100)
        rows = torch.cat([x.unsqueeze(0), drawn[:4], drawn.mean(0, keepdim=True)])
        return {"original, four completions, mean of 100": datasets.squares(rows)}

    def forward(self, x: Tensor) -> Program:
        upper, lower = x.chunk(2, -1)
        first = self.layer(0, upper - self.mean)

        def program(sample: Sample) -> Tensor:
            h, _ = sample("h1", first)
            for index in range(1, len(self.encoder)):
                h, _ = sample(f"h{index + 1}", self.layer(index, h.flatten(-len(self.shape))))
            return -Bernoulli(self.decoder(h.flatten(-len(self.shape)))).log_prob(lower)

        return program
