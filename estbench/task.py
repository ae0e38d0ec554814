"""Tasks: models whose cost depends on discrete samples, with the data and the protocol to train them."""

import abc
from collections.abc import Iterator
from typing import ClassVar, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from estbench.estimator import Estimator
from estbench.program import Program

Batch: TypeAlias = tuple[Tensor, ...]


class Splits(NamedTuple):
    """Tensors of a data set, each with the examples along its first dimension."""

    train: Batch
    valid: Batch
    test: Batch


class Task(abc.ABC):
    """A model, its data, and how it is trained.

    A model is an ``nn.Module`` that maps a batch to a program: ``model(*batch)``. Its children are the groups
    of parameters that gradients are measured for; by custom ``encoder``, ``decoder`` and ``prior``.

    Attributes:
        objective: what the program's cost is: ``elbo`` (the cost is its negative), ``nll`` or ``loss``.
        baseline: the unbiased estimator that others are set against: it trains the common trajectory,
            estimates the gradient where none is exact, and is the 1 of the speed ratios.
        oracle: the estimator that gives the exact gradient where it is applicable.
        batch_size: examples per minibatch.
        learning_rate: of the model.
        estimator_learning_rate: of an estimator's own parameters; as for the toy of Grathwohl et al. (2018),
            and ten times the model's as in Tucker et al. (2017).
    """

    objective: ClassVar[Literal["elbo", "nll", "loss"]]
    baseline: ClassVar[str]
    oracle: ClassVar[str | None] = None
    batch_size: int = 100
    learning_rate: float = 1e-3
    estimator_learning_rate: float = 1e-2

    @abc.abstractmethod
    def model(self) -> nn.Module:
        """A freshly initialised model."""

    @abc.abstractmethod
    def splits(self) -> Splits:
        """The data; the same at every call."""

    def view(self, batch: Batch, generator: torch.Generator) -> Batch:  # noqa: ARG002
        """Hook: what training sees of a minibatch, a fresh random binarisation for instance."""
        return batch

    def closed_form(self, model: nn.Module, batch: Batch) -> Program | None:  # noqa: ARG002
        """Hook: a program whose cost, at its nodes' means, is the expected cost; None where there is none."""
        return None

    def optimizer(self, model: nn.Module, estimator: Estimator) -> torch.optim.Optimizer:
        """Hook: Adam, with a learning rate of its own for what the estimator learns."""
        groups = [
            {"params": list(model.parameters()), "lr": self.learning_rate},
            {"params": list(estimator.parameters()), "lr": self.estimator_learning_rate},
        ]
        return torch.optim.Adam([group for group in groups if group["params"]])

    def minibatches(self, train: Batch, generator: torch.Generator) -> Iterator[Batch]:
        """Endless minibatches in a new random order every epoch; the generator is on the data's device."""
        examples = len(train[0])
        size = min(self.batch_size, examples)
        while True:
            order = torch.randperm(examples, generator=generator, device=train[0].device)
            for start in range(0, examples - size + 1, size):
                index = order[start : start + size]
                yield self.view(tuple(x[index] for x in train), generator)
