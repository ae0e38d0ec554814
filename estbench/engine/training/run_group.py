"""Run groups: training runs that are trained and evaluated together, or a single run."""

import abc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from estbench.core.noise import drawn_from
from estbench.core.task import Batch
from estbench.engine.training.compatibility import plain_attributes
from estbench.engine.training.random_routing import Routed
from estbench.engine.training.random_tape import Tape
from estbench.engine.training.recorded_step import RecordedStep
from estbench.engine.training.stacked_optimizer import rates
from estbench.engine.training.training_run import TrainingRun

# a function of model and batch that returns named tensors with a value per example
Question: TypeAlias = Callable[[nn.Module, Batch], dict[str, Tensor]]


class RunGroup(abc.ABC):
    """Training runs at the same step.

    Args:
        runs: the training runs.
    """

    def __init__(self, runs: Sequence[TrainingRun]) -> None:
        self.runs = runs

    @property
    def alive(self) -> list[tuple[int, TrainingRun]]:
        """The runs that have not failed, each with its index."""
        return [(number, run) for number, run in enumerate(self.runs) if run.error is None]

    @property
    def step(self) -> int:
        """The number of steps done."""
        return self.runs[0].step

    def advance(self, stop: int) -> None:
        """Trains up to a step, and keeps states in the journals from time to time."""
        losses, start = torch.zeros(len(self.runs)), time.perf_counter()
        alive = self.alive
        while self.step < stop and alive:
            losses = self.train()
            if alive[0][1].bench.journal.due():
                self._account(start, losses)
                self.keep(done=False)
                alive, start = self.alive, time.perf_counter()
        self._account(start, losses)

    def _account(self, start: float, losses: Tensor) -> None:
        # reading a result waits for the device, so the step is finished here
        for run, loss in zip(self.runs, losses.tolist(), strict=True):
            run.judge(loss)
        for run in self.runs:
            run.seconds += (time.perf_counter() - start) / len(self.runs)

    def keep(self, *, done: bool) -> None:
        """Keeps the states of the runs that have not failed in their journals."""
        self.settle()
        for _, run in self.alive:
            run.bench.journal.keep(run.state(), done=done)

    @property
    def note(self) -> str:
        """A remark on how the runs are trained; empty if there is none."""
        return ""

    @abc.abstractmethod
    def train(self) -> Tensor:
        """Trains one step; returns the minimised values, ``(replicas,)``."""

    @abc.abstractmethod
    def settle(self) -> None:
        """Copies the state of each replica back to its training run."""

    @abc.abstractmethod
    def ask(self, question: Question, data: Sequence[Batch], size: int, *names: int | str) -> dict[str, Tensor]:
        """The answers of each replica for each example, ``(replicas, examples)``.

        Args:
            question: called with the model and ``size`` examples at a time.
            data: the data of each replica, or a single batch for all.
            size: number of examples at a time.
            names: the name of the random stream.
        """


class Alone(RunGroup):
    """A single training run; on a CPU its steps are recorded once and replayed.

    Args:
        runs: the training run.
        recorded: whether to record its steps.
    """

    def __init__(self, runs: Sequence[TrainingRun], *, recorded: bool = True) -> None:
        super().__init__(runs)
        (run,) = runs
        self._replayed = RecordedStep(run.trainer.optimizers) if recorded and run.bench.device.type == "cpu" else None
        self._rates = rates(run.trainer)
        if self._replayed and run.trainer.schedulers:
            self._replayed.give_up("its learning rate follows a schedule")

    def train(self) -> Tensor:
        """One training step."""
        run = self.runs[0]
        if self._replayed is None or self._replayed.reason:
            return run.advance()[None]
        if rates(run.trainer) != self._rates:
            self._replayed, self._rates = RecordedStep(run.trainer.optimizers), rates(run.trainer)
        before = {} if self._replayed.steps else plain_attributes(run)
        loss = self._replayed(run.take, run.inputs())
        run.step += 1
        if unrecordable := self._unrecordable(before):
            self._replayed.give_up(unrecordable)
        return loss[None]

    def _unrecordable(self, before: Mapping[str, str]) -> str:
        """Why steps cannot be recorded, from attributes before the first; empty if they can."""
        run = self.runs[0]
        if run.strangers:
            return f"{', '.join(sorted(run.strangers))} draws from torch's generator"
        now = plain_attributes(run) if before else {}
        changed = [name for name, value in now.items() if before.get(name) != value]
        return f"{', '.join(changed)} changes from step to step and is no buffer" if changed else ""

    @property
    def note(self) -> str:
        """Why its steps are not replayed, if they could be."""
        reason = self._replayed.remark if self._replayed else ""
        return f"steps are not replayed: {reason}" if reason else ""

    def settle(self) -> None:
        """Does nothing, since the run already holds its own state."""

    def ask(self, question: Question, data: Sequence[Batch], size: int, *names: int | str) -> dict[str, Tensor]:
        """The answers of the single run."""
        bench = self.runs[0].bench
        tape = Tape([bench.stream(*names)], bench.device, ahead=False)
        found: dict[str, Tensor] = {}
        with torch.no_grad(), bench.aside(*names):
            for number, chunk in chunks(data[0], size):
                answers = asked(question, self.runs[0].model, chunk, tape, number)
                gather(found, answers, number * size, len(data[0][0]))
        return {name: values[None] for name, values in found.items()}


def asked(question: Question, model: nn.Module, chunk: Batch, tape: Tape, number: int) -> dict[str, Tensor]:
    """The answers for a chunk, with random numbers from a tape."""
    tape.begin(number)
    with drawn_from(tape), Routed(tape):
        return question(model, chunk)


def gather(found: dict[str, Tensor], part: dict[str, Tensor], start: int, examples: int) -> None:
    """Copies the answers for a chunk, ``(*replicas, chunk)``, into the tensor of the answers for all examples.

    If the chunks were kept as separate tensors, thousands of small tensors would fragment the memory between large
    ones, which would cost gigabytes for a bound of 1,000 samples.
    """
    for name, values in part.items():
        if name not in found:
            found[name] = values.new_empty((*values.shape[:-1], examples))
        found[name][..., start : start + values.shape[-1]] = values


def rows_at_once(device: torch.device) -> int:
    """How many rows a model evaluates at once; too few would leave a GPU idle."""
    return 2**15 if device.type == "cuda" else 2**11


def chunks(data: Batch, size: int) -> Iterator[tuple[int, Batch]]:
    """Consecutive parts of a batch with at most ``size`` examples, each with its index."""
    for number, start in enumerate(range(0, len(data[0]), size)):
        yield number, tuple(x[start : start + size] for x in data)
