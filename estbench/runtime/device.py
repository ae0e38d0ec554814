"""Devices: tensors are moved to one, and whether one still answers."""

import torch
from torch import Tensor

from estbench.runtime.guard import DeviceLostError


def moved(x: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on a device; the host does not wait for the copy to a GPU, which is from pinned memory."""
    if device.type != "cuda":
        return x.to(device)
    pinned = torch.empty(x.shape, dtype=x.dtype, pin_memory=True)
    pinned.copy_(x)
    return pinned.to(device, non_blocking=True)


def check_answers(device: torch.device, error: BaseException | None = None) -> None:
    """Waits for a device.

    Args:
        device: a GPU, or the CPU, which is always there.
        error: what went wrong before, if anything did; it is then the reason.

    Raises:
        DeviceLostError: an error persists on the device.
    """
    if device.type != "cuda":
        return
    try:
        torch.cuda.synchronize(device)
    except RuntimeError as persisting:
        reason = error or persisting
        text = " ".join(f"{type(reason).__name__}: {reason}".split())[:300]
        raise DeviceLostError(f"{text} (the GPU no longer answers this process)") from reason
