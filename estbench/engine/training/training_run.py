"""Training runs: a model and an estimator in training, whose state can be saved and continued."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from estbench.core.estimator import Estimator
from estbench.core.noise import drawn_from
from estbench.engine.base import Bench, MeasurementError, Row
from estbench.engine.model_state import ModelState
from estbench.engine.training.minibatches import Minibatches
from estbench.engine.training.random_routing import Routed
from estbench.engine.training.random_tape import Tape
from estbench.runtime import shared_generators


class TrainingRun:
    """A model and an estimator at some step of their training.

    Args:
        bench: the setting.
        estimator: the estimator, not yet prepared.
        key: the estimator's name.

    Attributes:
        step: number of steps done.
        seconds: time of these steps; in an ensemble, the total time divided by the number of replicas.
        replicas: the largest number of runs that it was trained together with so far, itself included.
        rows: the rows measured so far.
        error: the exception, if it failed.
    """

    def __init__(self, bench: Bench, estimator: Estimator, key: str) -> None:
        self.bench, self.estimator = bench, estimator
        self.model = bench.model()
        self.minibatches = Minibatches([bench])
        bench.sow("prepare")
        with ModelState(self.model).held():
            estimator.prepare(self.model(*next(bench.minibatches())))
        self.trainer = bench.task.trainer(self.model, estimator)
        self.stream = bench.stream("training", key, bench.cell)
        self.step, self.seconds, self.replicas = 0, 0.0, 1
        self.rows: list[Row] = []
        self.error: MeasurementError | None = None
        self._tape = Tape([self.stream], bench.device)
        self._routed: bool | None = None
        torch.manual_seed(self.stream)
        shared_generators.seed(self.stream)

    @property
    def evaluated(self) -> frozenset[int]:
        """The steps at which the run was evaluated."""
        return frozenset(row.step for row in self.rows)

    def advance(self) -> Tensor:
        """Trains one step; returns the minimised value."""
        loss = self.take(self.inputs())
        self.step += 1
        return loss

    def inputs(self) -> list[Tensor]:
        """The minibatch of the next step, then its random numbers as far as earlier steps showed which it draws."""
        batch = self.minibatches.at(self.step)
        self._examples = len(batch)
        return [*batch, *self._tape.laid_out(self.step)]

    def take(self, inputs: Sequence[Tensor]) -> Tensor:
        """Changes parameters as one step does with these inputs; returns the minimised value."""
        self.trainer.zero_grad()
        self._tape.show(inputs[self._examples :])
        # the first step shows whether any of torch's own random functions is called
        routed = Routed(self._tape) if self._routed is not False else None
        with drawn_from(self._tape), routed or contextlib.nullcontext():
            loss = self.estimator(self.model(*inputs[: self._examples]))
        if routed is not None:
            self._routed = routed.used
        loss.backward()
        self.trainer.step()
        return loss.detach()

    @property
    def strangers(self) -> set[str]:
        """Names of functions that a step called and whose random numbers no tape holds."""
        return self._tape.strangers

    def judge(self, loss: float) -> None:
        """Marks the run as failed if the objective is not finite."""
        if self.error is None and not -float("inf") < loss < float("inf"):
            self.error = MeasurementError(f"the objective is {loss} after {self.step} training steps")

    def state(self) -> dict[str, Any]:
        """The state from which the run can be continued, and its rows so far."""
        on_cuda = self.bench.device.type == "cuda"
        return {
            "step": self.step,
            "seconds": self.seconds,
            "replicas": self.replicas,
            "rows": [vars(row) for row in self.rows],
            "model": self.model.state_dict(),
            "estimator": self.estimator.state_dict(),
            "trainer": self.trainer.state_dict(),
            # the generators of code that draws from torch directly; a tape finds its position from the step
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(self.bench.device) if on_cuda else None,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Continues from a state."""
        self.step, self.seconds, self.replicas = state["step"], state["seconds"], state["replicas"]
        self.rows = [Row(**row) for row in state["rows"]]
        self.model.load_state_dict(state["model"])
        self.estimator.load_state_dict(state["estimator"])
        self.trainer.load_state_dict(state["trainer"])
        torch.set_rng_state(state["random"])
        if state["random_cuda"] is not None:
            torch.cuda.set_rng_state(state["random_cuda"], self.bench.device)
