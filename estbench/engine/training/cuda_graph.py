"""CUDA graphs: a training step captured once and replayed, so that the host launches one thing in place of hundreds."""

import contextlib
import functools
import warnings
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
        device: where it takes place.

    Attributes:
        reason: why it is not a graph; empty if it is, or has not been tried yet.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._calls = device, 0
        self._inputs: list[Tensor] = []
        self._replay: Callable[[], Any] | None = None
        self._output = torch.zeros(())
        self.reason = ""

    def __call__(self, step: Step, inputs: Sequence[Tensor]) -> Tensor:
        """One step; always the same one.

        Args:
            step: takes tensors whose shapes stay the same, and changes parameters in place, once it has all gradients.
            inputs: the tensors.
        """
        self._calls += 1
        if self.reason:
            return step(inputs)
        if self._calls < WARM_UP:
            with aside(self._device):
                return step(inputs)
        if self._replay is None:
            return self._tried(step, inputs)
        for static, x in zip(self._inputs, inputs, strict=True):
            static.copy_(x, non_blocking=True)
        self._replay()
        return self._output

    def _tried(self, step: Step, inputs: Sequence[Tensor]) -> Tensor:
        """The last step before the capture, and the capture; one step is taken, whatever fails."""
        try:
            with aside(self._device), unwaiting():
                output = step(inputs)
        except Exception as error:  # noqa: BLE001  (a plugin may do anything in its step)
            self.reason = _said(error)
            return step(inputs)
        self._inputs = [x.clone() for x in inputs]
        try:
            self._replay, self._output = captured(step, self._inputs, self._device)
        except Exception as error:  # noqa: BLE001  (likewise)
            self.reason = _said(error)
        return output


def _said(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


@functools.cache
def _side(device: torch.device) -> torch.cuda.Stream:
    """The stream of captures: one for all, for the linear algebra keeps memory for each that it has seen."""
    return torch.cuda.Stream(device)


@contextlib.contextmanager
def aside(device: torch.device) -> Iterator[None]:
    """On the stream on which a capture will be."""
    main, side = torch.cuda.current_stream(device), _side(device)
    side.wait_stream(main)
    try:
        with torch.cuda.stream(side):
            yield
    finally:
        main.wait_stream(side)


@contextlib.contextmanager
def unwaiting() -> Iterator[None]:
    """Has whatever makes the host wait for the device raise an error: in a capture it would leave torch in disorder."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        # torch says that this mode does not see all
        warnings.simplefilter("ignore")
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def captured(step: Step, inputs: Sequence[Tensor], device: torch.device) -> tuple[Callable[[], Any], Tensor]:
    """What replays a step, and where it leaves its result. Nothing is computed yet."""
    graph, main = torch.cuda.CUDAGraph(), torch.cuda.current_stream(device)
    try:
        with torch.cuda.graph(graph, stream=_side(device)):
            output = step(inputs)
    except BaseException:
        # torch's generator stays in a capture that failed until another one ends, and torch on its stream
        with contextlib.suppress(Exception), torch.cuda.graph(torch.cuda.CUDAGraph(), stream=_side(device)):
            torch.zeros(1, device=device)
        torch.cuda.set_stream(main)
        raise
    return graph.replay, output
