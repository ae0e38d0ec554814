"""Points: parameters and a minibatch at which gradients are measured."""

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.func import grad_and_value

from estbench.core.estimator import Estimator
from estbench.core.networks import with_parameters
from estbench.core.node import Node
from estbench.core.program import Program, Sample, draw, run
from estbench.core.task import Batch
from estbench.engine.base import Row
from estbench.engine.moments.held_model import HeldModel
from estbench.engine.moments.moments import Gradients

Objective: TypeAlias = Callable[[Program], Tensor]


@dataclass(frozen=True)
class Point:
    """Parameters, a minibatch, and the model's own random numbers.

    Args:
        step: number of training steps after which the parameters were taken.
        model: the model with these parameters.
        batch: the minibatch.
        own: whether they come from training with the measured estimator, rather than with the baseline.
        seed: seed of the random numbers that the model draws itself, such as dropout masks.
        free: whether the model draws them anew in every run.
    """

    step: int
    model: nn.Module
    batch: Batch
    own: bool = False
    seed: int = 0
    free: bool = False

    @property
    def name(self) -> str:
        """The key that distinguishes it from the other points of a measurement."""
        return self._named(str(self.step))

    def row(self, row: Row) -> Row:
        """The row with the step and the metric name of this point."""
        return replace(row, metric=self._named(row.metric), step=self.step)

    def _named(self, name: str) -> str:
        return f"own/{name}" if self.own else name

    @functools.cached_property
    def held(self) -> HeldModel:
        """The held model, whose runs differ only in the samples."""
        return HeldModel(self.model, self.batch, self.seed, free=self.free)

    @property
    def varies(self) -> bool:
        """Whether runs of the model differ in its own random numbers."""
        return self.free and self.held.draws

    def program(self) -> Program:
        """The program of the minibatch."""
        return self.held.program()

    def nodes(self) -> dict[str, Node]:
        """The nodes of one run of the program, by name."""
        with torch.no_grad():
            return {name: site.node for name, site in run(self.program(), draw)[1].items()}

    def evaluations(self, estimator: Estimator) -> int:
        """How often one estimate evaluates the cost of each example."""
        return estimator.evaluations([*self.nodes().values()])

    def finite(self) -> bool:
        """Whether all parameters are finite."""
        return all(bool(p.isfinite().all()) for p in self.model.parameters())

    def logit_gradient(
        self, objective: Objective, program: Callable[[], Program], value: str, *, mapped: bool = True
    ) -> Callable[[], Gradients]:
        """One gradient for a shift of the logits, shared by the samples, and the value of the objective.

        Args:
            objective: maps a program to a scalar, as an estimator does.
            program: makes the program of the minibatch.
            value: the name under which the result holds the value, ``(1,)``.
            mapped: whether the function will run under ``vmap``; otherwise it uses autograd.

        Returns:
            A function that gives the gradient by node: ``logits/NAME``, or ``logits`` where there is one node.
        """
        shifts = {name: torch.zeros_like(node.logits) for name, node in self.nodes().items()}
        names = {name: f"logits/{name}" if len(shifts) > 1 else "logits" for name in shifts}

        # tensors that are the same in every run are computed once
        fixed = None if self.varies else program()

        def loss(shifts: dict[str, Tensor]) -> Tensor:
            return objective(shifted(program() if fixed is None else fixed, shifts))

        def gradient() -> Gradients:
            found, scalar = grad_and_value(loss)(shifts) if mapped else self._by_autograd(loss, shifts)
            return {names[name]: found[name].flatten() for name in shifts} | {value: scalar.detach().reshape(1)}

        return gradient

    def parameter_gradient(
        self,
        objective: Objective,
        program: Callable[[], Program],
        parts: Mapping[str, Iterable[str]],
        value: str,
        *,
        mapped: bool = True,
    ) -> Callable[[], Gradients]:
        """One gradient for parameters of the model, and the value of the objective.

        Args:
            objective: maps a program to a scalar.
            program: makes the program, which may use parameters while it runs.
            parts: names of the parameters, by part.
            value: the name under which the result holds the value, ``(1,)``.
            mapped: whether the function will run under ``vmap``; otherwise it uses autograd.

        Returns:
            A function that gives the gradient by part.
        """
        wanted = {name for names in parts.values() for name in names}
        own = {name: p.detach() for name, p in self.model.named_parameters() if name in wanted}

        def loss(parameters: dict[str, Tensor]) -> Tensor:
            return with_parameters(self.model, parameters, lambda: objective(program()))

        def gradient() -> Gradients:
            by_autograd = functools.partial(self._of_parameters, lambda: objective(program()))
            found, scalar = grad_and_value(loss)(own) if mapped else by_autograd()
            gradients = {part: torch.cat([found[name].flatten() for name in names]) for part, names in parts.items()}
            return gradients | {value: scalar.detach().reshape(1)}

        return gradient

    def _by_autograd(
        self, loss: Callable[[dict[str, Tensor]], Tensor], at: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], Tensor]:
        leaves = {name: value.detach().requires_grad_() for name, value in at.items()}
        value = self._backward(lambda: loss(leaves))
        return {name: torch.zeros_like(x) if x.grad is None else x.grad for name, x in leaves.items()}, value

    def _of_parameters(self, loss: Callable[[], Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        found: dict[str, Tensor] = {}

        def keep() -> None:
            for name, p in self.model.named_parameters():
                found[name] = torch.zeros_like(p) if p.grad is None else p.grad

        return found, self._backward(loss, keep)

    def _backward(self, loss: Callable[[], Tensor], keep: Callable[[], None] = lambda: None) -> Tensor:
        """Gradients by ``backward``, which is the only way that works with re-entrant checkpointing; the value."""
        self.model.zero_grad()
        with torch.enable_grad():
            value = loss()
        if value.requires_grad:
            value.backward()
        keep()
        self.model.zero_grad()
        return value.detach()


def shifted(program: Program, shifts: Mapping[str, Tensor]) -> Program:
    """A program whose logits are shifted, by name of the node, equally for all samples of a node."""

    def moved(sample: Sample) -> Tensor:
        return program(lambda name, node: sample(name, node.at(node.logits + shifts[name])))

    return moved
