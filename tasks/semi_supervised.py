r"""Semi-supervised learning: a class and a Gaussian code explain an image, and few images have a known class.

.. math:: \mathcal J = \mathbb E_{x \sim U}\, \mathcal U(x) + \mathbb E_{x,y \sim L}
    \bigl[\mathcal L(x, y) - \alpha \log q(y|x)\bigr], \qquad
    \mathcal L(x, y) = -\mathbb E_{q(z|x,y)} \log \frac{p(x|y,z)\,p(y)\,p(z)}{q(z|x,y)}, \qquad
    \mathcal U(x) = \mathbb E_{q(y|x)} \bigl[\mathcal L(x, y) + \log q(y|x)\bigr]

Training minimises :math:`\mathcal J` over unlabelled images and a few labelled ones, with the same number of each
class. The class of an unlabelled image is the discrete node. The estimator ``exact`` marginalises over it by evaluating
all classes in one batch. Evaluation gives :math:`-\mathcal U`, which is the ELBO without labels, and the accuracy of
:math:`\arg\max_y q(y|x)`. Images are binarised again in each minibatch.

The noise of the Gaussian :math:`z` is part of a minibatch, with one vector per image that all values of :math:`y`
share, so the variance of an estimator is that of the discrete samples alone. As :math:`z` is weighted by its sampled
log-ratio, the multi-sample bound over :math:`y` at the same noise is a bound too.

:math:`q(y|x)` and :math:`q(z|x,y)` are three convolutions with ReLU and a linear head, and :math:`p(x|y,z)` four
transposed convolutions. The paper gives their sizes in a figure that cannot be read; the sizes here are chosen so that
the networks train on a CPU. :math:`p(y)` is uniform. The default optimiser is Adam: with SGD with momentum, which the
paper uses, these networks give a constant image after 900 steps at a learning rate of .001 on MNIST, and accuracy at
chance at .0003.

Reference: Kingma, Rezende, Mohamed & Welling (2014), https://arxiv.org/abs/1406.5298; Jang, Gu & Poole (2017),
https://arxiv.org/abs/1611.01144
"""

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from estbench.core.node import Bernoulli, Categorical, one_hot
from estbench.core.program import Program, Sample
from estbench.core.task import Batch, Method, Splits, Task
from estbench.data import datasets

CLASSES = 10
SEED = 20140620
ROWS = 10


class SemiSupervised(Task):
    """Learns to classify images, few of which are labelled.

    Args:
        dataset: a data set of images with labels; ``estbench data list`` names them.
        classes: number of values of the label; for a number other than 10 the labels are random, which serves to
            measure time against the number of classes.
        labels: ``true`` or ``random``.
        labelled: number of labelled images, the same for each class.
        alpha: weight of the classification of labelled images.
        gaussians: number of entries of the Gaussian code.
        width: number of channels of the first convolution; the next have twice and four times as many.
        batch_size: number of unlabelled images per minibatch.
        labelled_batch_size: number of labelled images per minibatch.
        optimizer: ``sgd`` (momentum 0.9), ``adam``, ``radam`` or ``rmsprop``.
        learning_rate: learning rate of the optimiser.
    """

    objective = "elbo"
    baseline = "rloo"
    oracle = "exact"

    def __init__(
        self,
        dataset: datasets.Dataset = "digits",
        classes: int = CLASSES,
        labels: Literal["true", "random"] = "true",
        labelled: int = 100,
        alpha: float = 0.3,
        gaussians: int = 32,
        width: int = 16,
        batch_size: int = 100,
        labelled_batch_size: int = 20,
        optimizer: Method = "adam",
        learning_rate: float = 1e-3,
    ) -> None:
        if min(gaussians, width, batch_size, labelled_batch_size) < 1 or classes < 2 or labelled < classes:
            raise ValueError(
                f"semi-supervised learning needs classes >= 2, labelled >= classes, and at least 1 of gaussians, "
                f"width, batch_size and labelled_batch_size; got {classes=}, {labelled=}, {gaussians=}, {width=}, "
                f"{batch_size=}, {labelled_batch_size=}"
            )
        self.random = labels == "random" or classes != CLASSES
        if not self.random and dataset not in datasets.LABELLED:
            raise ValueError(f"labels are known for {', '.join(datasets.LABELLED)}, or labels=random; got {dataset=}")
        if not alpha >= 0:
            raise ValueError(f"the weight of the classification must not be negative; got {alpha=}")
        self.dataset, self.classes, self.labelled, self.alpha = dataset, classes, labelled, alpha
        self.gaussians, self.width = gaussians, width
        self.batch_size, self.labelled_batch_size = batch_size, labelled_batch_size
        self.optimizer, self.learning_rate = optimizer, learning_rate

    def model(self) -> nn.Module:
        pixels = datasets.images(self.dataset).train[0].shape[-1]
        return _SemiSupervisedNet(math.isqrt(pixels), self.classes, self.gaussians, self.width, self.alpha)

    def splits(self) -> Splits:
        """Images and labels, the labelled ones last in training; for validation and test also the Gaussian noise."""
        generator = torch.Generator().manual_seed(SEED)
        images = datasets.binarised(self.dataset, "dynamic")
        labels = self._labels(images, generator)
        order = _balanced_last(labels[0], self.classes, self.labelled)
        rest = (
            (split[0], y, torch.randn(len(y), self.gaussians, generator=generator))
            for split, y in zip(images[1:], labels[1:], strict=True)
        )
        return Splits((images.train[0][order], labels[0][order]), *rest)

    def view(self, batch: Batch, generator: torch.Generator) -> Batch:
        grey, y = batch
        noise = torch.randn((len(grey), self.gaussians), dtype=grey.dtype, device=grey.device, generator=generator)
        return datasets.draw(grey, generator), y, noise

    def supplement(self, batch: Batch, train: Batch, generator: torch.Generator) -> Batch:
        device = train[0].device
        index = torch.randint(self.labelled, (self.labelled_batch_size,), generator=generator, device=device)
        return *batch, *self.view(tuple(x[-self.labelled :][index] for x in train), generator)

    def metrics(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        x, y, _ = batch
        assert isinstance(model, _SemiSupervisedNet)
        return {"accuracy": (model.classify(x).argmax(-1) == y).to(x.dtype)}

    def pictures(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        return model.pictures(*batch) if isinstance(model, _SemiSupervisedNet) else {}

    def _labels(self, images: Splits, generator: torch.Generator) -> tuple[Tensor, ...]:
        if self.random:
            return tuple(torch.randint(self.classes, (len(x),), generator=generator) for (x,) in images)
        return datasets.labels(self.dataset)


def _balanced_last(y: Tensor, classes: int, labelled: int) -> Tensor:
    """An order of the examples in which the first few of each class are last."""
    hot = one_hot(y, classes, torch.long)
    rank = (hot.cumsum(0) * hot).sum(-1)
    order = (rank * classes + y).argsort()
    return torch.cat([order[labelled:].sort().values, order[:labelled]])


class _SemiSupervisedNet(nn.Module):
    """The encoder q(y|x) and q(z|x,y) and the decoder p(x|y,z), on square images with this side in pixels."""

    def __init__(self, side: int, classes: int, gaussians: int, width: int, alpha: float) -> None:
        super().__init__()
        self.classes, self.alpha = classes, alpha
        self.encoder = nn.ModuleDict(
            {"y": _Convolutions(side, width, classes), "z": _Convolutions(side, width, 2 * gaussians, classes)}
        )
        self.decoder = _Transposed(side, width, gaussians, classes)

    def classify(self, x: Tensor) -> Tensor:
        """Logits of the classes, ``(examples, classes)``."""
        return self.encoder["y"](x)

    def pictures(self, x: Tensor, _y: Tensor, noise: Tensor) -> Mapping[str, Tensor]:
        likely = one_hot(self.classify(x).argmax(-1), self.classes, x.dtype)
        each = torch.eye(self.classes).to(x)[:ROWS, None].expand(-1, len(x), -1)
        shown = torch.stack([x, self.decoder(self.posterior(x, likely, noise)[0], likely).sigmoid()])
        return {
            "one random code a column, one class a row": datasets.squares(
                self.decoder(torch.randn_like(noise), each).sigmoid()
            ),
            "originals above, reconstructions below": datasets.squares(shown),
        }

    def forward(self, x: Tensor, _y: Tensor, noise: Tensor, *labelled: Tensor) -> Program:
        q = Categorical(self.classify(x)[:, None])
        supervised = self._supervised(*labelled) if labelled else 0.0

        def program(sample: Sample) -> Tensor:
            y, log_q = sample("y", q)
            return log_q + self._cost(x, y.squeeze(-2), noise) + supervised

        return program

    def posterior(self, x: Tensor, y: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """The Gaussian code for this noise and the logarithm of its scale, each ``(*samples, batch, gaussians)``."""
        mean, log_scale = self.encoder["z"](x, y).chunk(2, -1)
        return mean + log_scale.exp() * noise, log_scale

    def _cost(self, x: Tensor, y: Tensor, noise: Tensor) -> Tensor:
        """The negative ELBO of an image and its class, one-hot or relaxed, ``(*samples, batch)``."""
        z, log_scale = self.posterior(x, y, noise)
        log_ratio = (z.square() - noise.square()).sum(-1) / 2 - log_scale.sum(-1)
        return log_ratio + math.log(self.classes) - Bernoulli(self.decoder(z, y)).log_prob(x)

    def _supervised(self, x: Tensor, y: Tensor, noise: Tensor) -> Tensor:
        hot = one_hot(y, self.classes, x.dtype)
        log_q = Categorical(self.classify(x)[:, None]).log_prob(hot[:, None])
        return (self._cost(x, hot, noise) - self.alpha * log_q).mean()


class _Convolutions(nn.Module):
    """Three convolutions and a linear head on images ``(*samples, batch, pixels)``.

    A class enters as a shift of the channels of the first layer. Except at the edge, this is equivalent to constant
    planes beside the image.
    """

    def __init__(self, side: int, width: int, outputs: int, classes: int = 0) -> None:
        super().__init__()
        self.side = side
        self.first = nn.Conv2d(1, width, 3, 2, 1)
        self.label = nn.Linear(classes, width, bias=False) if classes else None
        for _ in range(3):
            side = (side + 1) // 2
        self.rest = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(2 * width, 4 * width, 3, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(4 * width * side * side, outputs),
        )

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        maps = self.first(x.reshape(-1, 1, self.side, self.side))
        if self.label is not None and y is not None:
            maps = maps + self.label(y)[..., None, None]
        return self.rest(maps.flatten(0, -4)).unflatten(0, maps.shape[:-3])


class _Transposed(nn.Module):
    """Four transposed convolutions, from a code and a class to logits of pixels ``(*samples, batch, pixels)``."""

    def __init__(self, side: int, width: int, gaussians: int, classes: int) -> None:
        super().__init__()
        half, quarter = (side + 1) // 2, (side + 3) // 4
        start = (quarter + 1) // 2
        # a linear map of a 1x1 image is its transposed convolution to the size of the kernel
        self.code = nn.Linear(gaussians, 4 * width * start * start)
        self.label = nn.Linear(classes, 4 * width * start * start, bias=False)
        self.shape = (4 * width, start, start)
        self.rest = nn.Sequential(
            nn.ReLU(),
            _doubling(4 * width, 2 * width, quarter),
            nn.ReLU(),
            _doubling(2 * width, width, half),
            nn.ReLU(),
            _doubling(width, 1, side),
        )

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        maps = (self.code(z) + self.label(y)).unflatten(-1, self.shape)
        return self.rest(maps.flatten(0, -4)).flatten(1).unflatten(0, maps.shape[:-3])


def _doubling(inputs: int, outputs: int, side: int) -> nn.Module:
    """A transposed convolution of stride 2 to images of this side."""
    return nn.ConvTranspose2d(inputs, outputs, 4 - side % 2, 2, 1)
