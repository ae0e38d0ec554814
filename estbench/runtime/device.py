"""Devices: moves tensors to a device, and checks whether it still responds."""

import torch
from torch import Tensor

from estbench.errors import reason, shorten
from estbench.runtime.guard import DeviceLostError


def moved(x: Tensor, device: torch.device) -> Tensor:
    """A CPU tensor moved to a device; a copy to a GPU uses pinned memory, so that the host does not wait for it."""
    if device.type != "cuda":
        return x.to(device)
    pinned = torch.empty(x.shape, dtype=x.dtype, pin_memory=True)
    pinned.copy_(x)
    return pinned.to(device, non_blocking=True)


def check_answers(device: torch.device, error: BaseException | None = None) -> None:
    """Waits for a device.

    Args:
        device: a GPU, or the CPU, which is always there.
        error: an earlier error, which is then given as the reason.

    Raises:
        DeviceLostError: an error persists on the device.
    """
    if device.type != "cuda":
        return
    try:
        torch.cuda.synchronize(device)
    except RuntimeError as persisting:
        first = error or persisting
        text = shorten(reason(first), 300)
        raise DeviceLostError(f"{text} (the GPU no longer answers this process)") from first
