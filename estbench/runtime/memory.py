"""Memory: what is free, and how the C library hands it out."""

import ctypes
import functools
import gc
import os
import sys

import torch

# of glibc's malloc.h
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3


@functools.cache
def reuse() -> bool:
    """Has the process keep the memory that it frees for later use, where the C library is glibc; whether it is.

    By default glibc gives the pages of a large tensor back to the system when it is freed, and the next one is
    filled page fault by page fault, which costs as much as computing it. Buffers up to 32 MiB are kept.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    asked = ((_MMAP_THRESHOLD, 2**25), (_TRIM_THRESHOLD, 2**30), (_TOP_PAD, 2**26))
    return all(bool(mallopt(option, value)) for option, value in asked)


def collect(device: torch.device) -> None:
    """Gives back what nothing holds any more, reference cycles included, and what torch keeps for later use."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _kept(device: torch.device) -> int:
    return torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def free(device: torch.device) -> int:
    """Bytes that are free on a device."""
    if device.type == "cuda":
        # what torch keeps for later use is free too
        return torch.cuda.mem_get_info(device)[0] + _kept(device)
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 2**31
