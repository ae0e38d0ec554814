"""Memory: how much is free, and how the C library allocates it."""

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
    """Makes the process keep freed memory for later use, if the C library is glibc; returns whether it is.

    By default glibc returns the pages of a large tensor to the system when it is freed. Filling the next tensor then
    causes page faults, which take as long as computing it. Buffers of up to 32 MiB are kept.
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
    """Frees unreferenced memory, including reference cycles, and memory that torch has cached."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _kept(device: torch.device) -> int:
    return torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def free(device: torch.device) -> int:
    """Bytes that are free on a device."""
    if device.type == "cuda":
        # memory that torch has cached counts as free
        return torch.cuda.mem_get_info(device)[0] + _kept(device)
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 2**31
