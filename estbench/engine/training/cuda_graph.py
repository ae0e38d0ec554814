"""CUDA graphs: a training step captured once and replayed, so that the host launches one thing in place of hundreds."""

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.torch_version import TorchVersion

from estbench.runtime import memory

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
            step: changes parameters in place, once it has all gradients.
            inputs: the tensors; where their shapes are not those of the capture, the step is taken without the graph.
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
            # a copy would fill the graph's places with what there is, by broadcasting
            with aside(self._device):
                return step(inputs)
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
        if self.reason:
            # out here the error is gone, and with it what its frames held of the capture's memory
            memory.collect(self._device)
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
        # the graph still lives, which the allocator asks whether a stream is being captured
        _abandon(pool, device)
        failed = failed or error
    if failed is not None:
        torch.cuda.set_stream(main)
        # torch's generator stays in a capture that failed until another one ends
        with contextlib.suppress(Exception), torch.cuda.graph(torch.cuda.CUDAGraph(), stream=_side(device)):
            torch.zeros(1, device=device)
        torch.cuda.set_stream(main)
        raise failed
    return graph.replay, output


def _abandon(pool: Any, device: torch.device) -> None:
    """Ends an invalidated capture for torch's allocator, and gives up its pool.

    Where a capture cannot be ended, torch up to 2.11 goes on to allocate from its pool
    (https://github.com/pytorch/pytorch/pull/180395), and up to 2.13 never releases that
    (https://github.com/pytorch/pytorch/pull/190348). Later ones do both, and must not be told twice to release it.
    """
    index = device.index if device.index is not None else torch.cuda.current_device()
    with contextlib.suppress(Exception):
        _end_allocation()(index, pool)
    if TorchVersion(torch.__version__) < "2.14":
        with contextlib.suppress(Exception):
            torch._C._cuda_releasePool(index, pool)  # noqa: SLF001  (torch has no public name for it)


def _end_allocation() -> Callable[[int, Any], None]:
    """What ends the allocation from a pool; torch renamed it in 2.8."""
    renamed = TorchVersion(torch.__version__) >= "2.8"
    name = "_cuda_endAllocateToPool" if renamed else "_cuda_endAllocateCurrentStreamToPool"
    return getattr(torch._C, name)  # noqa: SLF001  (likewise)
