r"""VAE: one layer of Bernoulli or categorical latent variables.

.. math:: \mathrm{ELBO} = \mathbb E_{q(z|x)} \log \frac{p(z)\,p(x|z)}{q(z|x)}

The defaults are the model and the training of Jang, Gu & Poole (2017), https://arxiv.org/abs/1611.01144: linear
maps 784-200-784 or 784-(20x10)-784, a learned prior, images binarised once, and SGD with momentum. The settings of
other papers:

- Dong, Mnih & Tucker (2020), https://arxiv.org/abs/2006.10680: ``hidden=200 200``, ``binarisation=dynamic``,
  ``optimizer=adam``, ``learning_rate=0.0001``, ``prior_learning_rate=0.01``, ``batch_size=50``.
- Shi, Zhou, Hwang, Titsias & Mackey (2022), https://arxiv.org/abs/2202.09497: ``hidden=200 200``,
  ``binarisation=dynamic``, ``optimizer=adam``, ``prior=fixed``, ``centre=false``.
- Liu, Dong, Liu, Yu & Gao (2023), https://arxiv.org/abs/2304.08612: ``latents=categorical``, ``units=4``,
  ``classes=8``, ``hidden=512 256``, ``activation=relu``, ``binarisation=none``, ``kl=analytic``, ``prior=fixed``,
  ``centre=false``, ``holdout=false``, ``optimizer=adam`` or ``radam``.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from estbench.core.estimator import Estimator
from estbench.core.node import Bernoulli, Categorical
from estbench.core.perceptron import Activation, network, output_bias, widths
from estbench.core.program import Program, Sample
from estbench.core.task import Batch, Method, Splits
from estbench.data import datasets
from estbench.data.image_task import ImageTask, latent_shape, pixel_logits


class VAE(ImageTask):
    """A variational autoencoder with discrete latents.

    Args:
        dataset: a data set of images; ``estbench data list`` names them.
        latents: ``bernoulli`` or ``categorical``.
        units: number of latent variables; 0 for 200 Bernoulli or 20 categorical ones.
        classes: number of classes of a categorical variable.
        hidden: widths of the encoder's hidden layers, separated by spaces; the decoder has them in reverse.
        activation: activation of hidden units; ``leaky_relu`` has slope 0.3.
        prior: ``learned`` or ``fixed`` (uniform).
        kl: ``sampled`` or ``analytic`` divergence from the prior. At relaxed samples the sampled divergence uses the
            discrete log-probabilities, as in Jang, Gu & Poole. In evaluation (``model.eval()``) it is always sampled,
            since a multi-sample value with the analytic divergence is no bound. For the same reason, estimators of
            multi-sample bounds are refused with the analytic divergence.
        binarisation: ``fixed``, ``dynamic``, ``threshold`` or ``none`` (grey levels as targets).
        holdout: whether the validation images are excluded from training; Liu et al. train on them.
        centre: whether the mean image is subtracted from the encoder's input and is the decoder's initial output.
        batch_size: number of examples per minibatch.
        optimizer: ``sgd`` (momentum 0.9), ``adam``, ``radam`` or ``rmsprop``.
        learning_rate: learning rate of the optimiser.
        prior_learning_rate: learning rate of plain SGD for the prior alone; 0 to train it with the other parameters.
        decay: factor by which the learning rates are multiplied after every ``decay_every`` steps.
        decay_every: number of training steps between two such changes.
    """

    objective = "elbo"
    baseline = "rloo"
    oracle = "exact"

    def __init__(
        self,
        dataset: datasets.Dataset = "digits",
        latents: Literal["bernoulli", "categorical"] = "bernoulli",
        units: int = 0,
        classes: int = 10,
        hidden: int | str = "",
        activation: Activation = "leaky_relu",
        prior: Literal["learned", "fixed"] = "learned",
        kl: Literal["sampled", "analytic"] = "sampled",
        binarisation: datasets.Binarisation = "fixed",
        holdout: bool = True,
        centre: bool = True,
        batch_size: int = 100,
        optimizer: Method = "sgd",
        learning_rate: float = 1e-3,
        prior_learning_rate: float = 0.0,
        decay: float = 1.0,
        decay_every: int = 1000,
    ) -> None:
        if units < 0 or classes < 2 or batch_size < 1 or decay_every < 1:
            raise ValueError(
                f"a VAE needs units >= 0, classes >= 2, batch_size >= 1 and decay_every >= 1; got {units=}, "
                f"{classes=}, {batch_size=}, {decay_every=}"
            )
        self.dataset, self.binarisation, self.batch_size = dataset, binarisation, batch_size
        self.prior, self.kl, self.holdout, self.centre = prior, kl, holdout, centre
        self.optimizer, self.learning_rate, self.prior_learning_rate = optimizer, learning_rate, prior_learning_rate
        self.hidden, self.activation, self.decay, self.decay_every = widths(hidden), activation, decay, decay_every
        self.shape = latent_shape(latents, units, classes)

    def model(self) -> nn.Module:
        mean = datasets.images(self.dataset).train[0].mean(0)
        latents, pixels = math.prod(self.shape), len(mean)
        model = _VAE(
            mean if self.centre else torch.zeros_like(mean),
            network((pixels, *self.hidden, latents), self.activation),
            network((latents, *self.hidden[::-1], pixels), self.activation),
            _Prior(self.shape, learned=self.prior == "learned"),
            analytic=self.kl == "analytic",
        )
        if self.centre:
            with torch.no_grad():
                output_bias(model.decoder).copy_(pixel_logits(mean))
        return model

    def splits(self) -> Splits:
        splits = self.binarised()
        if self.holdout:
            return splits
        return splits._replace(train=tuple(map(torch.cat, zip(splits.train, splits.valid, strict=True))))

    def effective(self) -> Mapping[str, Any]:
        return {"units": self.shape[0]}

    def refusal(self, estimator: Estimator) -> str:
        if self.kl == "sampled" or estimator.bound == 1:
            return ""
        return (
            f"{type(estimator).__name__} trains the {estimator.bound}-sample bound, which weights each sample by its "
            f"own density and is none with the analytic divergence; got kl={self.kl}, set kl=sampled"
        )

    def pictures(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        return model.pictures(*batch) if isinstance(model, _VAE) else {}

    def optimizers(self, model: nn.Module) -> list[torch.optim.Optimizer]:
        if not self.prior_learning_rate or self.prior == "fixed":
            return [self.optimizer_of(model.parameters(), self.learning_rate)]
        rest = [p for name, p in model.named_parameters() if not name.startswith("prior.")]
        prior = torch.optim.SGD(model.get_submodule("prior").parameters(), self.prior_learning_rate)
        return [self.optimizer_of(rest, self.learning_rate), prior]

    def schedulers(self, optimizers: Sequence[torch.optim.Optimizer]) -> list[torch.optim.lr_scheduler.LRScheduler]:
        if self.decay == 1.0:
            return []
        return [torch.optim.lr_scheduler.StepLR(each, self.decay_every, self.decay) for each in optimizers]


class _Prior(nn.Module):
    def __init__(self, shape: tuple[int, ...], *, learned: bool) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(shape), requires_grad=learned)


class _VAE(nn.Module):
    centre: Tensor

    def __init__(
        self, centre: Tensor, encoder: nn.Sequential, decoder: nn.Sequential, prior: _Prior, *, analytic: bool
    ) -> None:
        super().__init__()
        self.register_buffer("centre", centre)
        self.encoder, self.decoder, self.prior, self.analytic = encoder, decoder, prior, analytic

    def node(self, logits: Tensor, given: Tensor | None = None) -> Bernoulli | Categorical:
        return Categorical(logits, given) if self.prior.logits.ndim == 2 else Bernoulli(logits, given)

    def decode(self, z: Tensor) -> Bernoulli:
        return Bernoulli(self.decoder(z.flatten(-self.prior.logits.ndim)))

    def posterior(self, x: Tensor) -> Bernoulli | Categorical:
        centred = x - self.centre
        return self.node(self.encoder(centred).unflatten(-1, self.prior.logits.shape), centred)

    def pictures(self, x: Tensor) -> Mapping[str, Tensor]:
        codes = self.node(self.prior.logits.expand(2, len(x), *self.prior.logits.shape)).sample()
        reconstructions = self.decode(self.posterior(x).sample()).mean
        return {
            "random codes, decoded": datasets.squares(self.decode(codes).mean),
            "originals above, reconstructions below": datasets.squares(torch.stack([x, reconstructions])),
        }

    def forward(self, x: Tensor) -> Program:
        q, p = self.posterior(x), self.node(self.prior.logits)
        kl = q.log_prob(q.mean) - p.log_prob(q.mean) if self.analytic and self.training else None

        def program(sample: Sample) -> Tensor:
            z, log_q = sample("z", q)
            divergence = log_q - p.log_prob(z) if kl is None else kl
            return divergence - self.decode(z).log_prob(x)

        return program
