"""Tasks: models whose cost depends on discrete samples, with the data and the protocol to train them."""

import abc
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from estbench.core.estimator import Estimator
from estbench.core.program import Program

Batch: TypeAlias = tuple[Tensor, ...]
Method: TypeAlias = Literal["adam", "radam", "sgd", "rmsprop"]


class Splits(NamedTuple):
    """Tensors of a data set, each with the examples along its first dimension."""

    train: Batch
    valid: Batch
    test: Batch


@dataclass(frozen=True)
class Trainer:
    """Optimisers and schedules of learning rates that step together.

    Args:
        optimizers: each with parameters of its own.
        schedulers: each takes a step after every training step.
    """

    optimizers: Sequence[torch.optim.Optimizer]
    schedulers: Sequence[torch.optim.lr_scheduler.LRScheduler] = ()

    def zero_grad(self) -> None:
        """Forgets the gradients."""
        for optimizer in self.optimizers:
            optimizer.zero_grad()

    def step(self) -> None:
        """One training step by the gradients."""
        for optimizer in self.optimizers:
            optimizer.step()
        for scheduler in self.schedulers:
            scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        """The state of each, in order."""
        return {
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "schedulers": [scheduler.state_dict() for scheduler in self.schedulers],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state of a trainer of the same task and estimator."""
        for optimizer, own in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(own)
        for scheduler, own in zip(self.schedulers, state["schedulers"], strict=True):
            scheduler.load_state_dict(own)


class Task(abc.ABC):
    """A model, its data, and how it is trained.

    More than twelve public methods, because each is a question that training or a measure asks of a task, and
    most tasks keep the answer given here.

    A model is an ``nn.Module`` that maps a batch to a program: ``model(*batch)``. Its children are the groups
    of parameters that gradients are measured for; by custom ``encoder``, ``decoder`` and ``prior``.

    Attributes:
        objective: what the program's cost is: ``elbo`` (the cost is its negative), ``nll`` or ``loss``.
        baseline: the unbiased estimator that others are set against: it trains the common trajectory,
            estimates the gradient where none is exact, and is the 1 of the speed ratios.
        oracle: the estimator that gives the exact gradient where it is applicable.
        batch_size: examples per minibatch.
        optimizer: of the model: ``adam``, ``radam``, ``sgd`` (with momentum 0.9) or ``rmsprop``.
        learning_rate: of the model.
        second_moment: Adam's and RAdam's decay of squared gradients.
        estimator_learning_rate: of an estimator's own parameters; as for the toy of Grathwohl et al. (2018),
            and ten times the model's as in Tucker et al. (2017).
    """

    objective: ClassVar[Literal["elbo", "nll", "loss"]]
    baseline: ClassVar[str]
    oracle: ClassVar[str | None] = None
    batch_size: int = 100
    optimizer: Method = "adam"
    learning_rate: float = 1e-3
    second_moment: float = 0.999
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

    def supplement(self, batch: Batch, train: Batch, generator: torch.Generator) -> Batch:  # noqa: ARG002
        """Hook: a minibatch with what training adds to it, labelled examples for instance; evaluation adds nothing.

        Args:
            batch: the minibatch as ``view`` returned it.
            train: the whole training split.
            generator: on the data's device.
        """
        return batch

    def metrics(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:  # noqa: ARG002
        """Hook: what evaluation tells beside the objective, by name; a value per example ``(examples,)``."""
        return {}

    def closed_form(self, model: nn.Module, batch: Batch) -> Program | None:  # noqa: ARG002
        """Hook: a program whose cost, at its nodes' means, is the expected cost; None where there is none."""
        return None

    def effective(self) -> Mapping[str, Any]:
        """Hook: options whose value stands for another, 0 for a default for instance, by the value they stand for."""
        return {}

    def pictures(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:  # noqa: ARG002
        """Hook: pictures of what a trained model does with a batch, by their title; none by default.

        A picture is a grid of grey images with values in [0, 1], ``(rows, columns, height, width)``. The caller
        has seeded torch and wants no gradient.
        """
        return {}

    def refusal(self, estimator: Estimator) -> str:  # noqa: ARG002
        """Hook: why an estimator cannot be used on this task, in a sentence; empty where it can."""
        return ""

    def trainer(self, model: nn.Module | None, estimator: Estimator) -> Trainer:
        """What trains a model and what its estimator learns, or the latter alone; after ``estimator.prepare``."""
        optimizers = [] if model is None else self.optimizers(model)
        if own := list(estimator.parameters()):
            optimizers.append(torch.optim.Adam(own, self.estimator_learning_rate, fused=True))
        return Trainer(optimizers, self.schedulers(optimizers))

    def optimizers(self, model: nn.Module) -> list[torch.optim.Optimizer]:
        """Hook: what trains the model."""
        return [self.optimizer_of(model.parameters(), self.learning_rate)]

    def schedulers(
        self,
        optimizers: Sequence[torch.optim.Optimizer],  # noqa: ARG002
    ) -> list[torch.optim.lr_scheduler.LRScheduler]:
        """Hook: what changes learning rates; each takes a step after every training step."""
        return []

    def optimizer_of(self, parameters: Iterable[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
        """An optimiser as the task's protocol has it.

        Raises:
            ValueError: the task names one that is not known.
        """
        known: dict[str, Callable[..., torch.optim.Optimizer]] = {
            "adam": functools.partial(torch.optim.Adam, betas=(0.9, self.second_moment), fused=True),
            "radam": functools.partial(torch.optim.RAdam, betas=(0.9, self.second_moment)),
            "sgd": functools.partial(torch.optim.SGD, momentum=0.9, fused=True),
            "rmsprop": torch.optim.RMSprop,
        }
        if self.optimizer not in known:
            raise ValueError(f"'optimizer' is one of {', '.join(known)}; got {self.optimizer!r}")
        wanted = [parameter for parameter in parameters if parameter.requires_grad]
        return known[self.optimizer](wanted, lr=learning_rate)

    def minibatches(self, train: Batch, generator: torch.Generator) -> Iterator[Batch]:
        """Endless minibatches in a new random order every epoch; data and generator are on the CPU."""
        examples = len(train[0])
        size = min(self.batch_size, examples)
        while True:
            order = torch.randperm(examples, generator=generator, device=train[0].device)
            for start in range(0, examples - size + 1, size):
                index = order[start : start + size]
                batch = self.view(tuple(x[index] for x in train), generator)
                yield self.supplement(batch, train, generator)
