"""Tasks: models whose cost depends on discrete samples, with their data and training protocol."""

import abc
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, Self, TypeAlias

import torch
from torch import Tensor, nn

from estbench.core.estimator import Estimator
from estbench.core.making import Recorded
from estbench.core.program import Program

Batch: TypeAlias = tuple[Tensor, ...]
Method: TypeAlias = Literal["adam", "radam", "sgd", "rmsprop"]


class Splits(NamedTuple):
    """Tensors of a data set, each with the examples along its first dimension."""

    train: Batch
    valid: Batch
    test: Batch

    @classmethod
    def without_data(cls, examples: int = 1) -> Self:
        """Splits with so many examples that hold nothing, ``(examples, 0)``, for a task that has no data."""
        nothing = (torch.zeros(examples, 0),)
        return cls(nothing, nothing, nothing)


@dataclass(frozen=True)
class Trainer:
    """Optimisers and schedules of learning rates that step together.

    Args:
        optimizers: optimisers with disjoint parameters.
        schedulers: learning-rate schedulers; each steps after every training step.
    """

    optimizers: Sequence[torch.optim.Optimizer]
    schedulers: Sequence[torch.optim.lr_scheduler.LRScheduler] = ()

    def zero_grad(self) -> None:
        """Clears the gradients."""
        for optimizer in self.optimizers:
            optimizer.zero_grad()

    def step(self) -> None:
        """Takes one training step with the current gradients."""
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
        """Restores the state of a trainer of the same task and estimator."""
        for optimizer, own in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(own)
        for scheduler, own in zip(self.schedulers, state["schedulers"], strict=True):
            scheduler.load_state_dict(own)


class Task(Recorded, abc.ABC):
    """A model, its data, and how it is trained.

    More than twelve public methods, because each is a question that training or a measure asks of a task, and most
    tasks keep the answer given here.

    A model is an ``nn.Module`` that maps a batch to a program: ``model(*batch)``. Gradients are measured separately for
    the parameters of each of its children, which are usually called ``encoder``, ``decoder`` and ``prior``.

    Attributes:
        objective: what the program's cost is: ``elbo`` (the cost is its negative), ``nll`` or ``loss``.
        baseline: the unbiased estimator that others are compared with. It trains the run along which all are measured,
            estimates the reference gradient if no exact one is available, and is the unit of the speed ratios.
        oracle: the estimator that gives the exact gradient if it is applicable.
        batch_size: examples per minibatch.
        optimizer: the model's optimiser: ``adam``, ``radam``, ``sgd`` (with momentum 0.9) or ``rmsprop``.
        learning_rate: the model's learning rate.
        second_moment: Adam's and RAdam's decay of squared gradients.
        estimator_learning_rate: learning rate of an estimator's own parameters; as in the toy of Grathwohl et al.
            (2018), and ten times the model's as in Tucker et al. (2017).
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
        """Hook: transforms a minibatch for training, for instance by a new random binarisation."""
        return batch

    def supplement(self, batch: Batch, train: Batch, generator: torch.Generator) -> Batch:  # noqa: ARG002
        """Hook: extends a minibatch for training, for instance by labelled examples; not used in evaluation.

        Args:
            batch: the minibatch as ``view`` returned it.
            train: the whole training split.
            generator: a generator on the data's device.
        """
        return batch

    def metrics(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:  # noqa: ARG002
        """Hook: further metrics of an evaluation, by name, one value per example, ``(examples,)``."""
        return {}

    def closed_form(self, model: nn.Module, batch: Batch) -> Program | None:  # noqa: ARG002
        """Hook: a program whose cost at the means of its nodes is the expected cost, if there is one."""
        return None

    def effective(self) -> Mapping[str, Any]:
        """Hook: options with a value that stands for another (such as 0 for a default), mapped to that other value."""
        return {}

    def pictures(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:  # noqa: ARG002
        """Hook: pictures that a trained model makes from a batch, by title; none by default.

        A picture is a grid of grey images with values in [0, 1], ``(rows, columns, height, width)``. The caller
        has seeded torch and disabled gradients.
        """
        return {}

    def refusal(self, estimator: Estimator) -> str:  # noqa: ARG002
        """Hook: a sentence that says why an estimator cannot be used on this task; empty if it can."""
        return ""

    def trainer(self, model: nn.Module | None, estimator: Estimator) -> Trainer:
        """The trainer of a model and its estimator, or of the estimator alone; call it after ``estimator.prepare``."""
        optimizers = [] if model is None else self.optimizers(model)
        if own := list(estimator.parameters()):
            optimizers.append(torch.optim.Adam(own, self.estimator_learning_rate, fused=True))
        return Trainer(optimizers, self.schedulers(optimizers))

    def optimizers(self, model: nn.Module) -> list[torch.optim.Optimizer]:
        """Hook: the optimiser of the model."""
        return [self.optimizer_of(model.parameters(), self.learning_rate)]

    def schedulers(
        self,
        optimizers: Sequence[torch.optim.Optimizer],  # noqa: ARG002
    ) -> list[torch.optim.lr_scheduler.LRScheduler]:
        """Hook: the learning-rate schedulers; each steps after every training step."""
        return []

    def optimizer_of(self, parameters: Iterable[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
        """The optimiser of the task's protocol for these parameters.

        Raises:
            ValueError: the task's ``optimizer`` is unknown.
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
