r"""VAE: one layer of Bernoulli or categorical latents.

.. math:: \mathrm{ELBO} = \mathbb E_{q(z|x)} \log \frac{p(z)\,p(x|z)}{q(z|x)}

The linear one is 784-200-784 (or 784-(20x10)-784) on MNIST, as in Jang, Gu & Poole (2017),
https://arxiv.org/abs/1611.01144; the nonlinear one has two hidden layers of 200 LeakyReLU units on either
side, as in Titsias & Shi (2022), https://arxiv.org/abs/2111.05300.
"""

import itertools
from typing import Literal

import torch
from torch import Tensor, nn

from estbench import data
from estbench.node import Bernoulli, Categorical
from estbench.program import Program, Sample
from estbench.task import Batch, Splits, Task


class VAE(Task):
    """A variational autoencoder with discrete latents.

    Args:
        dataset: ``digits`` or ``mnist``.
        latents: ``bernoulli`` or ``categorical``.
        units: latent variables; 0 for 200 Bernoulli or 20 categorical ones.
        classes: of a categorical variable.
        network: ``linear`` or ``nonlinear`` encoder and decoder.
        hidden: width of the two hidden layers of the nonlinear networks.
        prior: ``learned`` or ``fixed`` (uniform).
        binarisation: ``dynamic``, ``fixed`` or ``threshold``.
        batch_size: examples per minibatch.
        learning_rate: of Adam.
    """

    objective = "elbo"
    baseline = "rloo"
    oracle = "exact"

    def __init__(
        self,
        dataset: Literal["digits", "mnist"] = "digits",
        latents: Literal["bernoulli", "categorical"] = "bernoulli",
        units: int = 0,
        classes: int = 10,
        network: Literal["linear", "nonlinear"] = "linear",
        hidden: int = 200,
        prior: Literal["learned", "fixed"] = "learned",
        binarisation: Literal["dynamic", "fixed", "threshold"] = "dynamic",
        batch_size: int = 100,
        learning_rate: float = 1e-3,
    ) -> None:
        if units < 0 or hidden < 1 or classes < 2 or batch_size < 1:
            raise ValueError(
                f"a VAE needs units >= 0, hidden >= 1, classes >= 2 and batch_size >= 1; got {units=}, "
                f"{hidden=}, {classes=}, {batch_size=}"
            )
        self.dataset, self.network, self.hidden, self.prior = dataset, network, hidden, prior
        self.binarisation, self.batch_size, self.learning_rate = binarisation, batch_size, learning_rate
        categorical = latents == "categorical"
        self.shape = (units or 20, classes) if categorical else (units or 200,)

    def model(self) -> nn.Module:
        mean = data.images(self.dataset).train[0].mean(0)
        hidden = (self.hidden, self.hidden) if self.network == "nonlinear" else ()
        return _VAE(mean, self.shape, hidden, learned=self.prior == "learned")

    def splits(self) -> Splits:
        return data.binarised(self.dataset, self.binarisation)

    def view(self, batch: Batch, generator: torch.Generator) -> Batch:
        return (data.draw(batch[0], generator),) if self.binarisation == "dynamic" else batch


def network(widths: tuple[int, ...]) -> nn.Sequential:
    """Linear layers of these widths with LeakyReLU (slope 0.3) between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.LeakyReLU(0.3)]
    return nn.Sequential(*layers[:-1])


class _Prior(nn.Module):
    def __init__(self, shape: tuple[int, ...], *, learned: bool) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(shape), requires_grad=learned)


class _VAE(nn.Module):
    mean: Tensor

    def __init__(self, mean: Tensor, shape: tuple[int, ...], hidden: tuple[int, ...], *, learned: bool) -> None:
        super().__init__()
        self.shape, width = shape, int(torch.tensor(shape).prod())
        self.register_buffer("mean", mean)
        self.encoder = network((len(mean), *hidden, width))
        self.decoder = network((width, *hidden[::-1], len(mean)))
        self.prior = _Prior(shape, learned=learned)
        with torch.no_grad():
            self.decoder[-1].bias.copy_(mean.clamp(0.01, 0.99).logit())

    def node(self, logits: Tensor, given: Tensor | None = None) -> Bernoulli | Categorical:
        return Categorical(logits, given) if len(self.shape) == 2 else Bernoulli(logits, given)

    def forward(self, x: Tensor) -> Program:
        centred = x - self.mean
        q = self.node(self.encoder(centred).unflatten(-1, self.shape), centred)

        def program(sample: Sample) -> Tensor:
            z, log_q = sample("z", q)
            log_px = Bernoulli(self.decoder(z.flatten(-len(self.shape)))).log_prob(x)
            return log_q - self.node(self.prior.logits).log_prob(z) - log_px

        return program
