"""CUDA graphs: a training step is captured once and replayed, so that the host launches one graph per step."""

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.torch_version import TorchVersion

from estbench.errors import reason, shorten
from estbench.runtime import memory

Step: TypeAlias = Callable[[Sequence[Tensor]], Tensor]
# number of ordinary steps before the capture, since what a library sets up at its first calls must not be in a graph
WARM_UP = 3


class Replayed:
    """A training step as a CUDA graph; if it cannot be captured, the step is run operation by operation.

    Inputs are copied to the tensors that the graph reads. The returned tensors are overwritten by the next call.

    Args:
        device: the device of the step.

    Attributes:
        reason: why the step could not be captured; empty if it was, or was not tried yet.
        remark: the same.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._calls = device, 0
        self._inputs: list[Tensor] = []
        self._replay: Callable[[], Any] | None = None
        self._output = torch.zeros(())
        self.reason = self.remark = ""

    def __call__(self, step: Step, inputs: Sequence[Tensor]) -> Tensor:
        """Takes one step; every call must pass the same function.

        Args:
            step: the function; it changes parameters in place after computing all gradients.
            inputs: its tensors; if their shapes differ from those of the capture, the step runs without the graph.
        """
        self._calls += 1
        if self.reason:
            return step(inputs)
        if self._calls < WARM_UP:
            with aside(self._device):
                return step(inputs)
        if self._replay is None:
            return self._tried(step, inputs)
        if [(x.shape, x.dtype) for x in inputs] != [(x.shape, x.dtype) for x in self._inputs]:
            # a copy would silently broadcast to the shape of the graph's tensors
            with aside(self._device):
                return step(inputs)
        for static, x in zip(self._inputs, inputs, strict=True):
            static.copy_(x, non_blocking=True)
        self._replay()
        return self._output

    def give_up(self, reason: str) -> None:
        """From now on, steps are run operation by operation, for this reason."""
        self.reason = self.remark = reason

    def _tried(self, step: Step, inputs: Sequence[Tensor]) -> Tensor:
        """Takes the last step before the capture, then captures; one step is taken even if the capture fails."""
        try:
            with aside(self._device), unwaiting():
                output = step(inputs)
        except Exception as error:  # noqa: BLE001  (a plugin may do anything in its step)
            self.give_up(_said(error))
            return step(inputs)
        self._inputs = [x.clone() for x in inputs]
        try:
            self._replay, self._output = captured(step, self._inputs, self._device)
        except Exception as error:  # noqa: BLE001  (likewise)
            self.give_up(_said(error))
        if self.reason:
            # after the except block, the exception and its frames no longer hold memory of the capture
            memory.collect(self._device)
        return output


def _said(error: Exception) -> str:
    return shorten(reason(error), 200)


@functools.cache
def _side(device: torch.device) -> torch.cuda.Stream:
    """The CUDA stream of all captures; a single one, since linear-algebra libraries keep memory for each stream."""
    return torch.cuda.Stream(device)


@contextlib.contextmanager
def aside(device: torch.device) -> Iterator[None]:
    """Runs the context on the CUDA stream of captures."""
    main, side = torch.cuda.current_stream(device), _side(device)
    side.wait_stream(main)
    try:
        with torch.cuda.stream(side):
            yield
    finally:
        main.wait_stream(side)


@contextlib.contextmanager
def unwaiting() -> Iterator[None]:
    """Makes every synchronisation with the device an error; inside a capture it would leave torch in a bad state."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        # according to torch's documentation, this mode does not detect every synchronisation
        warnings.simplefilter("ignore")
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def captured(step: Step, inputs: Sequence[Tensor], device: torch.device) -> tuple[Callable[[], Any], Tensor]:
    """Captures a step; returns a function that replays it, and its results. Nothing is computed yet."""
    graph, main, pool = torch.cuda.CUDAGraph(), torch.cuda.current_stream(device), torch.cuda.graph_pool_handle()
    failed: BaseException | None = None
    output = torch.zeros(())
    try:
        with torch.cuda.graph(graph, pool=pool, stream=_side(device)):
            try:
                output = step(inputs)
            except BaseException as error:  # noqa: BLE001  (raised below, once the capture has ended)
                failed = error
    except BaseException as error:  # noqa: BLE001  (likewise)
        # the graph must still exist, since the allocator asks it whether a stream is being captured
        _abandon(pool, device)
        failed = failed or error
    if failed is not None:
        torch.cuda.set_stream(main)
        # torch's generator remains in the state of a failed capture until another capture ends
        with contextlib.suppress(Exception), torch.cuda.graph(torch.cuda.CUDAGraph(), stream=_side(device)):
            torch.zeros(1, device=device)
        torch.cuda.set_stream(main)
        raise failed
    return graph.replay, output


def _abandon(pool: Any, device: torch.device) -> None:
    """Ends an invalidated capture for torch's allocator, and releases its memory pool.

    If a capture cannot be ended, torch up to 2.11 continues to allocate from its pool
    (https://github.com/pytorch/pytorch/pull/180395), and torch up to 2.13 never releases the pool
    (https://github.com/pytorch/pytorch/pull/190348). Later versions do both; releasing a pool twice is an error.
    """
    index = device.index if device.index is not None else torch.cuda.current_device()
    with contextlib.suppress(Exception):
        _end_allocation()(index, pool)
    if TorchVersion(torch.__version__) < "2.14":
        with contextlib.suppress(Exception):
            torch._C._cuda_releasePool(index, pool)  # noqa: SLF001  (torch has no public name for it)


def _end_allocation() -> Callable[[int, Any], None]:
    """The function that ends allocation from a pool; torch renamed it in 2.8."""
    renamed = TorchVersion(torch.__version__) >= "2.8"
    name = "_cuda_endAllocateToPool" if renamed else "_cuda_endAllocateCurrentStreamToPool"
    return getattr(torch._C, name)  # noqa: SLF001  (likewise)
