r"""Mixture of experts: a gate chooses which small network classifies an image.

.. math:: \min \; \mathbb E_{j \sim p(\cdot|x)} \bigl[-\log \mathrm{softmax}(p_j(x) \, e_j(x))_y\bigr],
    \qquad p(x) = \mathrm{softmax}(W x)

This is top-1 routing as in the Switch Transformer, at a size where all experts can be enumerated: the output of the
chosen expert is multiplied by the expert's own probability. The gradient for the gate therefore has two parts, one
because the cost weights the score, and one through that probability; usual code returns the second alone. With
``weighting=none`` only the first is left.

Nothing in this objective keeps experts in use: gates of all estimators, and of the exact gradient, soon send all
examples to one expert. ``balance`` adds its weight times the divergence of the mean probabilities over the minibatch
from uniform ones, :math:`\log n - \mathrm{H}(\bar p)`, a function of the logits and of no sample.

With ``chosen`` above 1 the gate chooses a subset of so many experts, a ``Subset`` node, and the output is the sum of
theirs, weighted in the same way; ``weighting=none`` averages them.

Beside the accuracy with the most probable experts there are two metrics of the load: ``experts_used``, the exponential
of the entropy of the mean probabilities over the examples that are evaluated together (the number of experts if all
have the same load, 1 if one has it all), and ``experts_per_example``, the same for each example by itself.

Reference: Shazeer et al. (2017), https://arxiv.org/abs/1701.06538; Fedus, Zoph & Shazeer (2022),
https://arxiv.org/abs/2101.03961
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)

from estbench.core.node import Categorical, Subset
from estbench.core.program import Program, Sample
from estbench.core.task import Batch, Method, Splits, Task
from estbench.data import datasets

CLASSES = 10


class MixtureOfExperts(Task):
    """Classifies images by experts that a gate chooses.

    Args:
        dataset: images with classes.
        experts: number of experts.
        chosen: how many of them classify an image.
        hidden: width of each expert's hidden layer.
        weighting: of an expert's output: its ``probability`` or ``none``.
        balance: weight of the divergence of the mean load from an equal one.
        batch_size: examples per minibatch.
        optimizer: ``sgd`` (momentum 0.9), ``adam``, ``radam`` or ``rmsprop``.
        learning_rate: of the optimiser.
    """

    objective = "loss"
    baseline = "rloo"
    oracle = "exact"

    def __init__(
        self,
        dataset: Literal["digits", "mnist", "fashion_mnist"] = "digits",
        experts: int = 8,
        chosen: int = 1,
        hidden: int = 16,
        weighting: Literal["probability", "none"] = "probability",
        balance: float = 1.0,
        batch_size: int = 100,
        optimizer: Method = "adam",
        learning_rate: float = 3e-3,
    ) -> None:
        if not 1 <= chosen < experts or min(hidden, batch_size) < 1 or not 0 <= balance < math.inf:
            raise ValueError(
                f"a mixture needs chosen from 1 to experts - 1, hidden and batch_size >= 1, a finite balance >= 0; got "
                f"{experts=}, {chosen=}, {hidden=}, {batch_size=}, {balance=}"
            )
        self.dataset, self.experts, self.chosen, self.hidden = dataset, experts, chosen, hidden
        self.weighted, self.balance, self.batch_size = weighting == "probability", balance, batch_size
        self.optimizer, self.learning_rate = optimizer, learning_rate

    def model(self) -> nn.Module:
        pixels = datasets.images(self.dataset).train[0].shape[-1]
        return _Mixture(pixels, self.experts, self.hidden, self.chosen, self.balance, weighted=self.weighted)

    def splits(self) -> Splits:
        """Images and their classes, one-hot."""
        images, labels = datasets.images(self.dataset), datasets.labels(self.dataset)
        return Splits(*((x, F.one_hot(y, CLASSES).to(x.dtype)) for (x,), y in zip(images, labels, strict=True)))

    def metrics(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        x, y = batch
        assert isinstance(model, _Mixture)
        node = model.node(x)
        output = model.mixed(node.most_probable(), model.weights(node), model.experts(x))
        load = model.load(node)
        return {
            "accuracy": (output.argmax(-1) == y.argmax(-1)).to(x.dtype),
            "experts_used": _effective(load.mean(0)).expand(len(x)),
            "experts_per_example": _effective(load),
        }

    def closed_form(self, model: nn.Module, batch: Batch) -> Program | None:
        return model.expected(*batch) if isinstance(model, _Mixture) and self.chosen == 1 else None


def _effective(shares: Tensor) -> Tensor:
    """The number of equal shares with the same entropy."""
    return torch.special.entr(shares).sum(-1).exp()


class _Experts(nn.Module):
    """Perceptrons with one hidden layer, all of them in one product of matrices."""

    def __init__(self, experts: int, pixels: int, hidden: int) -> None:
        super().__init__()
        self.inward = nn.Parameter(_uniform(pixels, experts, pixels, hidden))
        self.bias = nn.Parameter(_uniform(pixels, experts, 1, hidden))
        self.outward = nn.Parameter(_uniform(hidden, experts, hidden, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        """The output of every expert, ``(batch, experts, classes)``."""
        return (((x @ self.inward) + self.bias).tanh() @ self.outward).transpose(0, 1)


def _uniform(inputs: int, *shape: int) -> Tensor:
    """Weights as those of ``nn.Linear``."""
    return torch.empty(shape).uniform_(-1, 1) / math.sqrt(inputs)


class _Mixture(nn.Module):
    def __init__(self, pixels: int, experts: int, hidden: int, chosen: int, balance: float, *, weighted: bool) -> None:
        super().__init__()
        self.gate, self.experts = nn.Linear(pixels, experts), _Experts(experts, pixels, hidden)
        self.chosen, self.balance, self.weighted = chosen, balance, weighted

    def node(self, x: Tensor) -> Categorical | Subset:
        logits = self.gate(x)
        return Categorical(logits[..., None, :], x) if self.chosen == 1 else Subset(logits, self.chosen, x)

    def load(self, node: Categorical | Subset) -> Tensor:
        """The share of each expert in each example, ``(batch, experts)``."""
        # a subset's probabilities of being chosen sum to the number of experts chosen
        return node.mean.reshape(*node.logits.shape[:1], -1) / self.chosen

    def penalty(self, node: Categorical | Subset) -> Tensor | float:
        """The weighted divergence of the mean load from an equal one."""
        if not self.balance:
            return 0.0
        mean = self.load(node).mean(0)
        return self.balance * (math.log(len(mean)) - torch.special.entr(mean).sum())

    def weights(self, node: Categorical | Subset) -> Tensor:
        """What the output of each expert is multiplied by if it is chosen, ``(batch, experts)`` or a scalar."""
        if self.weighted:
            return node.logits.reshape(*node.logits.shape[:1], -1).softmax(-1)
        return node.logits.new_full((), 1 / self.chosen)

    def mixed(self, value: Tensor, weights: Tensor, outputs: Tensor) -> Tensor:
        """The weighted sum of the outputs of the chosen experts, ``(*samples, batch, classes)``."""
        chosen = value.squeeze(-2) if self.chosen == 1 else value
        return ((chosen * weights)[..., None, :] @ outputs).squeeze(-2)

    def forward(self, x: Tensor, y: Tensor) -> Program:
        node, outputs = self.node(x), self.experts(x)
        weights, penalty = self.weights(node), self.penalty(node)

        def program(sample: Sample) -> Tensor:
            value, log_q = sample("gate", node)
            # the probability of the one expert comes from the sample, so that gradients for the logits hold its part
            own = log_q.exp()[..., None] if self.weighted and self.chosen == 1 else weights
            return _loss(self.mixed(value, own, outputs), y) + penalty

        return program

    def expected(self, x: Tensor, y: Tensor) -> Program:
        """A program whose cost at the probabilities is the expected cost: the sum over the experts."""
        node, outputs = self.node(x), self.experts(x)
        penalty = self.penalty(node)

        def program(sample: Sample) -> Tensor:
            shares = sample("gate", node)[0].squeeze(-2)
            weighted = shares[..., None] * outputs if self.weighted else outputs
            return (shares * _loss(weighted, y[:, None])).sum(-1) + penalty

        return program


def _loss(output: Tensor, y: Tensor) -> Tensor:
    """The cross entropy, without the dimension of the classes."""
    return -(output.log_softmax(-1) * y).sum(-1)
