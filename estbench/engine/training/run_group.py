"""Crews: trainees that are trained and evaluated together, or one alone."""

import abc
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from estbench.core.noise import drawn_from
from estbench.core.task import Batch
from estbench.engine.training.random_routing import Routed
from estbench.engine.training.random_tape import Tape
from estbench.engine.training.training_run import TrainingRun

# what is asked of a model and a batch: named tensors with a value per example
Question: TypeAlias = Callable[[nn.Module, Batch], dict[str, Tensor]]


class RunGroup(abc.ABC):
    """Trainees at the same step.

    Args:
        trainees: them.
    """

    def __init__(self, trainees: Sequence[TrainingRun]) -> None:
        self.trainees = trainees

    @property
    def alive(self) -> list[tuple[int, TrainingRun]]:
        """Those that have not failed, with their numbers."""
        return [(number, trainee) for number, trainee in enumerate(self.trainees) if trainee.error is None]

    @property
    def step(self) -> int:
        """How many steps are done."""
        return self.trainees[0].step

    def advance(self, stop: int) -> None:
        """Trains to a step, leaving states in the journals now and then."""
        losses, start = torch.zeros(len(self.trainees)), time.perf_counter()
        alive = self.alive
        while self.step < stop and alive:
            losses = self.train()
            if alive[0][1].bench.journal.due():
                self._account(start, losses)
                self.keep(done=False)
                alive, start = self.alive, time.perf_counter()
        self._account(start, losses)

    def _account(self, start: float, losses: Tensor) -> None:
        # the first look at a result: what the device was told to do is done by then
        for trainee, loss in zip(self.trainees, losses.tolist(), strict=True):
            trainee.judge(loss)
        for trainee in self.trainees:
            trainee.seconds += (time.perf_counter() - start) / len(self.trainees)

    def keep(self, *, done: bool) -> None:
        """Leaves the states of those that have not failed in their journals."""
        self.settle()
        for _, trainee in self.alive:
            trainee.bench.journal.keep(trainee.state(), done=done)

    @property
    def note(self) -> str:
        """What there is to say of how they are trained."""
        return ""

    @abc.abstractmethod
    def train(self) -> Tensor:
        """Trains one step; returns what was minimised, ``(replicas,)``."""

    @abc.abstractmethod
    def settle(self) -> None:
        """Gives trainees what is theirs."""

    @abc.abstractmethod
    def ask(self, question: Question, data: Sequence[Batch], size: int, *names: int | str) -> dict[str, Tensor]:
        """Answers of each replica for each example, ``(replicas, examples)``.

        Args:
            question: asked of the model and so many examples at a time.
            data: of each replica; a single one for all.
            size: how many.
            names: of the stream of random numbers.
        """


class Alone(RunGroup):
    """A single trainee."""

    def train(self) -> Tensor:
        """One step."""
        return self.trainees[0].advance()[None]

    def settle(self) -> None:
        """Nothing: all is its own."""

    def ask(self, question: Question, data: Sequence[Batch], size: int, *names: int | str) -> dict[str, Tensor]:
        """Its answers."""
        bench = self.trainees[0].bench
        tape = Tape([bench.stream(*names)], bench.device, ahead=False)
        found: dict[str, Tensor] = {}
        with torch.no_grad(), bench.aside(*names):
            for number, chunk in chunks(data[0], size):
                answers = asked(question, self.trainees[0].model, chunk, tape, number)
                gather(found, answers, number * size, len(data[0][0]))
        return {name: values[None] for name, values in found.items()}


def asked(question: Question, model: nn.Module, chunk: Batch, tape: Tape, number: int) -> dict[str, Tensor]:
    """The answers for a chunk, with random numbers from a tape."""
    tape.begin(number)
    with drawn_from(tape), Routed(tape):
        return question(model, chunk)


def gather(found: dict[str, Tensor], part: dict[str, Tensor], start: int, examples: int) -> None:
    """Puts the answers for a chunk, ``(*replicas, chunk)``, where they belong among those for all examples.

    Kept as they come, thousands of small tensors would lie between the large ones of each chunk, and what these
    leave behind could not be used again: gigabytes for a bound of 1,000 samples.
    """
    for name, values in part.items():
        if name not in found:
            found[name] = values.new_empty((*values.shape[:-1], examples))
        found[name][..., start : start + values.shape[-1]] = values


def rows_at_once(device: torch.device) -> int:
    """How many rows of a replica pass through a model at once in evaluation; a GPU is idle with few."""
    return 2**15 if device.type == "cuda" else 2**11


def chunks(data: Batch, size: int) -> Iterator[tuple[int, Batch]]:
    """Parts of a batch of a size, numbered."""
    for number, start in enumerate(range(0, len(data[0]), size)):
        yield number, tuple(x[start : start + size] for x in data)
