"""Ensembles: replicas of one task and estimator, trained as one batch.

Parameters, buffers and states of optimisers are stacked along a leading dimension, and model, estimator and
derivative are vmapped over it. Replicas may differ in seeds, learning rates, and floats that are attributes of task,
model and estimator: such a float becomes a tensor with an entry per replica.
"""

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from estbench.core.noise import drawn_from
from estbench.core.task import Batch
from estbench.engine.training.compatibility import instead, numbers, plain_attributes
from estbench.engine.training.cuda_graph import Replayed
from estbench.engine.training.minibatches import Minibatches
from estbench.engine.training.random_routing import Routed
from estbench.engine.training.random_tape import CannotTogetherError, Place, Tape
from estbench.engine.training.recorded_step import RecordedStep
from estbench.engine.training.run_group import Question, RunGroup, asked, chunks, gather, rows_at_once
from estbench.engine.training.stacked_optimizer import StackedTrainer
from estbench.engine.training.training_run import TrainingRun

Tensors = dict[str, Tensor]
# number of rows evaluated at once by a model, over all replicas
ROWS_AT_ONCE = {"cpu": 2**14, "cuda": 2**17}


class _ModelAndEstimator(nn.Module):
    """A model and an estimator as one module, so that their parameters have different names."""

    def __init__(self, model: nn.Module, estimator: nn.Module) -> None:
        super().__init__()
        self.model, self.estimator = model, estimator

    def forward(self, function: Any) -> Any:
        return function()


class Ensemble(RunGroup):
    """Compatible training runs, trained as one batch.

    Args:
        runs: the training runs, as grouped by ``alike``.
        graphs: whether to replay the step: as a CUDA graph, on a CPU as recorded operations.

    Raises:
        CannotTogetherError: they cannot be trained together.
    """

    def __init__(self, runs: Sequence[TrainingRun], *, graphs: bool = True) -> None:
        super().__init__(runs)
        first, benches = runs[0], [run.bench for run in runs]
        self._task, self._device = first.bench.task, first.bench.device
        self._pairs = [_ModelAndEstimator(run.model, run.estimator) for run in runs]
        names = [{id(parameter): name for name, parameter in pair.named_parameters()} for pair in self._pairs]
        self._trainer = StackedTrainer([run.trainer for run in runs], names)
        self._fixed = self._stacked("named_parameters", without=self._trainer.leaves)
        self._buffers = self._stacked("named_buffers")
        self._numbers = numbers(runs)
        values = [torch.tensor(number.values, dtype=first.bench.dtype) for number in self._numbers]
        self._values = [value.to(self._device) for value in values]
        self._replicas = torch.arange(len(runs), device=self._device)[:, None]
        self._minibatches = Minibatches(benches)
        self._tape = Tape([run.stream for run in runs], self._device)
        for run in runs:
            run.replicas = max(run.replicas, len(runs))
        self._look()
        self._compare()
        self._replayed = _replaying(self._device, first.trainer.optimizers) if graphs else None
        if self._replayed and self.strangers:
            self._replayed.give_up(f"{', '.join(sorted(self.strangers))} draws from torch's generator")

    def _stacked(self, kind: str, without: Mapping[str, Tensor] | None = None) -> Tensors:
        each = [dict(getattr(pair, kind)()) for pair in self._pairs]
        names = [name for name in each[0] if name not in (without or {})]
        return {name: torch.stack([own[name].detach() for own in each]) for name in names}

    def _look(self) -> None:
        """Finds out, with one replica, which random numbers a step draws."""
        # a copy, since estimators count steps
        pair, step = copy.deepcopy(self._pairs[0]), self.step
        rows = self._shown(self._laid_out(step))
        self._minibatches.tape.begin(step)
        batch = tuple(x[0] for x in rows)
        batch = batch if self._minibatches.own else self._minibatches.dress(self._task, batch)
        self._tape.begin(step)
        routed = Routed(self._tape)
        with drawn_from(self._tape), routed:
            pair.estimator(pair.model(*batch))
        self._routed = routed.used
        self.strangers = self._tape.strangers | self._minibatches.tape.strangers

    def _compare(self) -> None:
        """Checks that the gradients of the first and the last replica are those that each has alone."""
        before = plain_attributes(self.runs[0])
        found, _ = self._gradients(self._laid_out(self.step))
        if changed := [name for name, value in plain_attributes(self.runs[0]).items() if before.get(name) != value]:
            # a CUDA graph would keep its first value, and all replicas share it
            raise CannotTogetherError(f"{', '.join(changed)} changes from step to step and is no buffer")
        for number in () if self.strangers else sorted({0, len(self.runs) - 1}):
            run, pair = self.runs[number], copy.deepcopy(self._pairs[number])
            tape, batch = Tape([run.stream], self._device), run.minibatches.at(self.step)
            tape.begin(self.step)
            with drawn_from(tape), Routed(tape):
                loss = pair.estimator(pair.model(*batch))
            loss.backward()
            alone = {name: x.grad for name, x in pair.named_parameters() if name in found and x.grad is not None}
            ours = torch.cat([found[name][number].flatten() for name in alone])
            theirs = torch.cat([x.flatten() for x in alone.values()])
            if not torch.allclose(ours, theirs, rtol=0, atol=1e-3 * float(theirs.norm()), equal_nan=True):
                raise CannotTogetherError("its gradients change under vmap")

    def _laid_out(self, step: int) -> list[Tensor]:
        """The inputs of a step: indices of examples (or examples, if the task has its own order), random numbers."""
        chosen = self._minibatches.taken(step) if self._minibatches.own else (self._minibatches.order(step),)
        return [*chosen, *self._minibatches.tape.laid_out(step), *self._tape.laid_out(step)]

    def _shown(self, inputs: Sequence[Tensor]) -> Batch:
        """Gives a step's random numbers to the tapes; returns the minibatches, not yet viewed, ``(replicas, ...)``."""
        drawn, ahead = len(self._tape.places), len(self._minibatches.tape.places)
        rows = inputs[: len(inputs) - drawn - ahead]
        self._minibatches.tape.show(inputs[len(rows) : len(rows) + ahead])
        self._tape.show(inputs[len(rows) + ahead :])
        return tuple(rows) if self._minibatches.own else tuple(x[rows[0]] for x in self._minibatches.train)

    def train(self) -> Tensor:
        """One training step of each replica."""
        inputs = self._laid_out(self.step)
        # no reference to the step is kept, so that a graph's memory is freed together with the ensemble
        losses = self._replayed(self._step, inputs) if self._replayed else self._step(inputs)
        self._trainer.schedule()
        for run in self.runs:
            run.step += 1
        return losses

    def _step(self, inputs: Sequence[Tensor]) -> Tensor:
        gradients, (losses, buffers) = self._gradients(inputs)
        self._trainer.step(gradients)
        for name, buffer in buffers.items():
            self._buffers[name].copy_(buffer)
        return losses

    @torch.no_grad()
    def _gradients(self, inputs: Sequence[Tensor]) -> tuple[Tensors, tuple[Tensor, Tensors]]:
        """For each replica: the gradient, the minimised value, and the buffers afterwards."""
        # in this order, estimators can see whether tensors require gradients
        mapped = vmap(grad_and_value(self._loss, has_aux=True), randomness="different")
        gradients, found = mapped(*self._state, self._values, self._replicas, self._shown(inputs))
        return gradients, found

    def _loss(
        self, leaves: Tensors, fixed: Tensors, buffers: Tensors, values: list[Tensor], replica: Tensor, rows: Batch
    ) -> tuple[Tensor, Tensors]:
        """The value that one replica minimises, and its buffers afterwards."""
        pair = self._pairs[0]

        def loss() -> tuple[Tensor, Tensors]:
            batch = rows if self._minibatches.own else self._minibatches.dress(self._task, rows)
            with drawn_from(self._tape), Routed(self._tape) if self._routed else contextlib.nullcontext():
                value = pair.estimator(pair.model(*batch))
            return value, dict(pair.named_buffers())

        with self._as(replica, values, self._tape, self._minibatches.tape):
            # estimators change their counters, which are buffers, in place
            own = {name: buffer.clone() for name, buffer in buffers.items()}
            return functional_call(pair, (leaves, fixed, own), (loss,))

    @contextlib.contextmanager
    def _as(self, replica: Tensor, values: Sequence[Tensor], *tapes: Tape) -> Iterator[None]:
        """Inside the vmapped function: makes the tapes answer for the current replica."""
        for tape in tapes:
            tape.replica = replica
        try:
            with instead(self._numbers, values):
                yield
        finally:
            for tape in tapes:
                tape.replica = None

    @property
    def note(self) -> str:
        """Why its steps are not replayed, if they could be."""
        reason = self._replayed.remark if self._replayed else ""
        return f"steps are not replayed: {reason}" if reason else ""

    @torch.no_grad()
    def settle(self) -> None:
        """Copies parameters, buffers, and states of optimisers and schedules back to the single runs."""
        self._trainer.unstack()
        for number, pair in enumerate(self._pairs):
            for name, buffer in pair.named_buffers():
                buffer.copy_(self._buffers[name][number])

    @torch.no_grad()
    def ask(self, question: Question, data: Sequence[Batch], size: int, *names: int | str) -> Tensors:
        """The answers of each replica, for as many replicas at once as fit into memory."""
        streams = [run.bench.stream(*names) for run in self.runs]
        many = max(1, ROWS_AT_ONCE[self._device.type] // rows_at_once(self._device))
        with self.runs[0].bench.aside(*names):
            parts = [
                self._some(question, data, size, streams, slice(start, start + many))
                for start in range(0, len(streams), many)
            ]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _some(
        self, question: Question, data: Sequence[Batch], size: int, streams: Sequence[int], which: slice
    ) -> Tensors:
        """The answers of some of the replicas."""
        tape = Tape(streams[which], self._device, ahead=False)
        shared = len(data) == 1
        batch = data[0] if shared else tuple(torch.stack(parts, 1) for parts in zip(*data[which], strict=True))
        places: dict[int, list[Place]] = {}
        found: Tensors = {}
        for number, chunk in chunks(batch, size):
            if len(chunk[0]) not in places:
                first = chunk if shared else tuple(x[:, 0] for x in chunk)
                places[len(chunk[0])] = self._places(question, first)
            tape.places = places[len(chunk[0])]
            tape.show(tape.laid_out(number))
            state = [{name: x[which] for name, x in part.items()} for part in self._state]
            values, replicas = [value[which] for value in self._values], self._replicas[: len(streams[which])]
            mapped = vmap(self._answer, in_dims=(None, None, 0, 0, 0, None if shared else 1), randomness="different")
            gather(found, mapped(question, tape, state, values, replicas, chunk), number * size, len(batch[0]))
        return found

    def _places(self, question: Question, chunk: Batch) -> list[Place]:
        """The random numbers that a question draws."""
        tape = Tape([0], self._device, ahead=False)
        asked(question, self._pairs[0].model, chunk, tape, 0)
        return tape.places

    def _answer(
        self, question: Question, tape: Tape, state: list[Tensors], values: list[Tensor], replica: Tensor, chunk: Batch
    ) -> Tensors:
        pair = self._pairs[0]

        def answer() -> Tensors:
            with drawn_from(tape), Routed(tape):
                return question(pair.model, chunk)

        with self._as(replica, values, tape):
            return functional_call(pair, tuple(state), (answer,))

    @property
    def _state(self) -> tuple[Tensors, Tensors, Tensors]:
        return self._trainer.leaves, self._fixed, self._buffers


def _replaying(device: torch.device, optimizers: Sequence[torch.optim.Optimizer]) -> Replayed | RecordedStep:
    return RecordedStep(optimizers) if device.type == "cpu" else Replayed(device)
