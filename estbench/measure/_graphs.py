"""CUDA graphs: a training step captured once and replayed, so that the host launches one thing in place of hundreds."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

Step: TypeAlias = Callable[[Sequence[Tensor]], Tensor]
# steps before the capture, as real ones: what a library sets up at its first calls must not be in a graph
WARM_UP = 3


class Replayed:
    """A step of training as a CUDA graph; step by step where it cannot be captured, with the reason.

    Its inputs are copied to where the graph reads them. What it returns is overwritten by the next call.

    Args:
        step: takes tensors whose shapes stay the same, and changes parameters in place.

    Attributes:
        reason: why it is not a graph; empty if it is, or has not been tried yet.
    """

    def __init__(self, step: Step) -> None:
        self._step, self._calls = step, 0
        self._inputs: list[Tensor] = []
        self._replay: Callable[[], Any] | None = None
        self._output = torch.zeros(())
        self.reason = ""

    def __call__(self, inputs: Sequence[Tensor]) -> Tensor:
        """One step."""
        self._calls += 1
        if self.reason:
            return self._step(inputs)
        if self._calls <= WARM_UP:
            with aside():
                return self._step(inputs)
        if self._replay is None:
            self._inputs = [x.clone() for x in inputs]
            try:
                self._replay, self._output = captured(self._step, self._inputs)
            except Exception as error:  # noqa: BLE001  (a plugin may do anything in its step)
                self.reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                return self._step(inputs)
        for static, x in zip(self._inputs, inputs, strict=True):
            static.copy_(x, non_blocking=True)
        self._replay()
        return self._output


@contextlib.contextmanager
def aside() -> Iterator[None]:
    """On a stream of its own, as a capture will be."""
    main, side = torch.cuda.current_stream(), torch.cuda.Stream()
    side.wait_stream(main)
    with torch.cuda.stream(side):
        yield
    main.wait_stream(side)


def captured(step: Step, inputs: Sequence[Tensor]) -> tuple[Callable[[], Any], Tensor]:
    """What replays a step, and where it leaves its result. Nothing is computed yet."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = step(inputs)
    return graph.replay, output
