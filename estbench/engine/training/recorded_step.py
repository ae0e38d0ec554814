"""Recorded steps: on a CPU, the operations of a training step are recorded once and replayed.

What a step of a small model costs is mostly Python: modules, estimators, autograd, transforms. A replay calls the same
operations, one after another, with the same results to the last bit.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from estbench.engine.op_graph import OtherDecisionError, RecordedCall, TooLargeError, recorded_call

Step: TypeAlias = Callable[[Sequence[Tensor]], Tensor]
# number of ordinary steps before the recording, since optimisers make their state at the first
WARM_UP = 2
# bytes of results of a step: with more, its operations take much longer than it takes to call them
MOST = 2**26
# number of steps with other decisions than in the recording after which it is dropped
OTHER_DECISIONS = 5


class RecordedStep:
    """A training step as a recorded graph; if it cannot be recorded, the step is run as it is.

    The step after the recording is taken both ways. The graph is used only if all that it changes, and its result, are
    the same to the last bit. A step whose values decide otherwise than in the recording, such as logits that mask a
    class, is run as it is.

    Args:
        optimizers: the optimisers that take the step.

    Attributes:
        steps: the number of steps taken.
        reason: why there is no graph; empty if there is one, or it was not tried yet.
        remark: the same, but empty if nothing of the user's is the reason: the step is so large that a graph would gain
            nothing, or the optimiser is RAdam.
    """

    def __init__(self, optimizers: Sequence[torch.optim.Optimizer] = ()) -> None:
        self.steps = self._others = 0
        self._shapes: list[tuple[torch.Size, torch.dtype]] = []
        self._graph: RecordedCall | None = None
        self._trusted = False
        reads = any(isinstance(each, torch.optim.RAdam) for each in optimizers)
        self.reason, self.remark = "RAdam reads its counter of steps" if reads else "", ""

    def __call__(self, step: Step, inputs: Sequence[Tensor]) -> Tensor:
        """Takes one step; every call must pass the same function.

        Args:
            step: the function; it changes parameters in place.
            inputs: its tensors; if their shapes differ from those of the recording, the step runs as it is.
        """
        self.steps += 1
        if self.reason or self.steps <= WARM_UP:
            return step(inputs)
        if self._graph is None:
            return self._recorded(step, inputs)
        if _shapes(inputs) != self._shapes:
            return step(inputs)
        try:
            return self._graph(inputs) if self._trusted else self._tried(self._graph, step, inputs)
        except OtherDecisionError:
            self._others += 1
        if self._others > OTHER_DECISIONS:
            self.give_up("what it decides by values of tensors changes from step to step")
        return step(inputs)

    def _recorded(self, step: Step, inputs: Sequence[Tensor]) -> Tensor:
        found, result = recorded_call(step, inputs, MOST)
        if isinstance(found, TooLargeError):
            self.reason = str(found)
        elif isinstance(found, Exception):
            self.give_up(f"{type(found).__name__}: {found}")
        else:
            self._graph, self._shapes = found, _shapes(inputs)
        return result

    def _tried(self, graph: RecordedCall, step: Step, inputs: Sequence[Tensor]) -> Tensor:
        """Takes a step both ways; from then on as the graph, if both are the same."""
        start = [x.clone() for x in graph.changed]
        replayed = graph(inputs)
        ends = [x.clone() for x in (*graph.changed, replayed)]
        for x, value in zip(graph.changed, start, strict=True):
            x.copy_(value)
        result = step(inputs)
        self._trusted = all(_same(x, value) for x, value in zip((*graph.changed, result), ends, strict=True))
        if not self._trusted:
            self.give_up("a replay of its operations gives other results, so that more than its tensors changes")
        return result

    def give_up(self, reason: str) -> None:
        """From now on, steps are run as they are, for this reason."""
        self.reason = self.remark = " ".join(reason.split())[:200]
        self._graph = None


def _shapes(inputs: Sequence[Tensor]) -> list[tuple[torch.Size, torch.dtype]]:
    return [(x.shape, x.dtype) for x in inputs]


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one.nan_to_num(), other.nan_to_num())
