r"""VQ-VAE: an autoencoder whose code is a vector of a codebook, drawn by its distance from what the encoder says.

.. math:: \min \; \mathbb E_{j \sim q(\cdot|x)} \bigl[-\log p(x \mid e_j)\bigr]
    + \beta \, \mathrm{KL}(q(\cdot|x) \,\|\, \text{uniform}), \qquad q(j \mid x) \propto e^{-\|z(x) - e_j\|^2 / T}

An image has ``units`` codes, each with a vector :math:`z` of its own, and all share one codebook of ``codes`` vectors.
The codebook has gradients by two ways: through the probabilities, and through the chosen vectors, of which the decoder
makes the image. ``beta=1`` is an ELBO with a uniform prior (its divergence is analytic).

``quantisation`` says how codes are chosen. ``stochastic`` draws them; this is the problem that estimators of gradients
are for. The other two take the nearest code for certain, as van den Oord et al. do, and add their losses,
:math:`\|\mathrm{sg}\,z - e\|^2 + \tfrac14 \|z - \mathrm{sg}\,e\|^2`: ``straight_through`` copies the gradient of the
code to :math:`z`, ``rotation`` turns and scales it as :math:`z` must be turned and scaled to become the code. With
these nothing is random: there is no expectation that an estimator could be biased against (the measure ``gradient``
says so), all estimators are the same, and the only question is where training ends.

The metrics are ``error_reconstruction``, the reconstruction's cost in nats with the most probable codes, which all
three quantisations have in common; and ``code_perplexity``, the exponential of the entropy of the use of the most
probable codes in the examples that are evaluated together (the number of codes if all are used alike, 1 if there is
only one).

Reference: van den Oord, Vinyals & Kavukcuoglu (2017), https://arxiv.org/abs/1711.00937; Sønderby, Poole & Mnih (2017),
https://arxiv.org/abs/1711.06545, for drawn codes; Fifty et al. (2024), https://arxiv.org/abs/2410.06424, for the
rotation
"""

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)

from estbench.core.node import Bernoulli, Categorical
from estbench.core.perceptron import network, output_bias, widths
from estbench.core.program import Program, Sample
from estbench.core.task import Batch, Method, Splits
from estbench.data import datasets
from estbench.data.image_task import ImageTask, pixel_logits

# weight of the encoder's part of the losses of quantisation, as van den Oord et al. have it
COMMITMENT = 0.25


class VQVAE(ImageTask):
    """An autoencoder with codes from a codebook.

    Args:
        dataset: a data set of images; ``estbench data list`` names them.
        units: codes of an image.
        codes: vectors of the codebook.
        dimensions: of a vector.
        temperature: of the squared distances.
        beta: weight of the divergence from uniform codes.
        quantisation: ``stochastic``, ``straight_through`` or ``rotation``.
        hidden: widths of the encoder's hidden layers, separated by spaces; the decoder has them in reverse.
        binarisation: ``fixed``, ``dynamic``, ``threshold`` or ``none`` (grey levels as targets).
        batch_size: examples per minibatch.
        optimizer: ``sgd`` (momentum 0.9), ``adam``, ``radam`` or ``rmsprop``.
        learning_rate: of the optimiser.
    """

    objective = "loss"
    baseline = "rloo"
    oracle = "exact"

    def __init__(
        self,
        dataset: datasets.Dataset = "digits",
        units: int = 2,
        codes: int = 16,
        dimensions: int = 4,
        temperature: float = 1.0,
        beta: float = 0.0,
        quantisation: Literal["stochastic", "straight_through", "rotation"] = "stochastic",
        hidden: int | str = 64,
        binarisation: datasets.Binarisation = "fixed",
        batch_size: int = 100,
        optimizer: Method = "adam",
        learning_rate: float = 1e-3,
    ) -> None:
        if min(units, codes - 1, dimensions, batch_size) < 1 or not temperature > 0 or not 0 <= beta < math.inf:
            raise ValueError(
                f"a VQ-VAE needs units, dimensions and batch_size >= 1, codes >= 2, temperature > 0 and a finite "
                f"beta >= 0; got {units=}, {dimensions=}, {batch_size=}, {codes=}, {temperature=}, {beta=}"
            )
        self.dataset, self.units, self.codes, self.dimensions = dataset, units, codes, dimensions
        self.temperature, self.beta, self.quantisation = temperature, beta, quantisation
        self.hidden, self.binarisation, self.batch_size = widths(hidden), binarisation, batch_size
        self.optimizer, self.learning_rate = optimizer, learning_rate

    def model(self) -> nn.Module:
        mean = datasets.images(self.dataset).train[0].mean(0)
        inside = self.units * self.dimensions
        encoder = network((len(mean), *self.hidden, inside), "relu")
        decoder = network((inside, *self.hidden[::-1], len(mean)), "relu")
        with torch.no_grad():
            output_bias(decoder).copy_(pixel_logits(mean))
        codebook = _Codebook(self.codes, self.dimensions, self.temperature)
        if self.quantisation == "stochastic":
            return _Drawn(encoder, codebook, decoder, self.beta)
        return _Nearest(encoder, codebook, decoder, rotated=self.quantisation == "rotation")

    def splits(self) -> Splits:
        return self.binarised()

    def metrics(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        (x,) = batch
        assert isinstance(model, _Autoencoder)
        hot = model.codebook.node(model.encoded(x), x).most_probable()
        use = hot.mean((0, 1))
        return {
            "error_reconstruction": model.reconstruction(hot @ model.codebook.vectors, x),
            "code_perplexity": torch.special.entr(use).sum().exp().expand(len(x)),
        }

    def pictures(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        (x,) = batch
        assert isinstance(model, _Autoencoder)
        vectors = model.codebook.node(model.encoded(x), x).most_probable() @ model.codebook.vectors
        both = torch.stack([x, model.decoder(vectors.flatten(-2)).sigmoid()])
        return {"originals above, reconstructions below": datasets.squares(both)}


class _Codebook(nn.Module):
    def __init__(self, codes: int, dimensions: int, temperature: float) -> None:
        super().__init__()
        self.vectors, self.temperature = nn.Parameter(torch.randn(codes, dimensions)), temperature

    def node(self, z: Tensor, given: Tensor) -> Categorical:
        """The codes of vectors ``(batch, units, dimensions)``: near ones are probable."""
        squares = (z[..., None, :] - self.vectors).square().sum(-1)
        return Categorical(-squares / self.temperature, given)


class _Autoencoder(nn.Module):
    """Encoder, codebook and decoder, which become children with these names."""

    def __init__(self, encoder: nn.Sequential, codebook: _Codebook, decoder: nn.Sequential) -> None:
        super().__init__()
        self.encoder, self.codebook, self.decoder = encoder, codebook, decoder

    def encoded(self, x: Tensor) -> Tensor:
        """A vector for each code, ``(batch, units, dimensions)``."""
        return self.encoder(x).unflatten(-1, (-1, self.codebook.vectors.shape[-1]))

    def reconstruction(self, vectors: Tensor, x: Tensor) -> Tensor:
        """Minus the log-likelihood of images given vectors, ``(*samples, batch)``."""
        return -Bernoulli(self.decoder(vectors.flatten(-2))).log_prob(x)


class _Drawn(_Autoencoder):
    def __init__(self, encoder: nn.Sequential, codebook: _Codebook, decoder: nn.Sequential, beta: float) -> None:
        super().__init__(encoder, codebook, decoder)
        self.beta = beta

    def forward(self, x: Tensor) -> Program:
        node = self.codebook.node(self.encoded(x), x)
        uniform = node.logits.shape[-2] * math.log(node.logits.shape[-1])
        divergence = self.beta * (uniform - node.entropy()) if self.beta else 0.0

        def program(sample: Sample) -> Tensor:
            code, _ = sample("code", node)
            return self.reconstruction(code @ self.codebook.vectors, x) + divergence

        return program


class _Nearest(_Autoencoder):
    def __init__(self, encoder: nn.Sequential, codebook: _Codebook, decoder: nn.Sequential, *, rotated: bool) -> None:
        super().__init__(encoder, codebook, decoder)
        self.rotated = rotated

    def forward(self, x: Tensor) -> Program:
        z = self.encoded(x)
        hot = self.codebook.node(z.detach(), x).most_probable()
        # the nearest code is the only one that is not masked
        certain = Categorical(torch.where(hot > 0.5, torch.zeros_like(hot), -math.inf), x)

        def program(sample: Sample) -> Tensor:
            code, _ = sample("code", certain)
            vectors = code @ self.codebook.vectors
            apart = (z.detach() - vectors).square() + COMMITMENT * (z - vectors.detach()).square()
            copied = rotated(z, vectors) if self.rotated else z + (vectors - z).detach()
            return self.reconstruction(copied, x) + apart.sum((-2, -1))

        return program


def rotated(z: Tensor, vectors: Tensor) -> Tensor:
    """The values of ``vectors``, as rotations and scalings of ``z``, which are held fixed in the derivative."""
    with torch.no_grad():
        start, end = F.normalize(z, dim=-1), F.normalize(vectors, dim=-1)
        between = F.normalize(start + end, dim=-1)
        scale = vectors.norm(dim=-1, keepdim=True) / z.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    reflected = z - 2 * (z * between).sum(-1, keepdim=True) * between
    return scale * (reflected + 2 * (z * start).sum(-1, keepdim=True) * end)
