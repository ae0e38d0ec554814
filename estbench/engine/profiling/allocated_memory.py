"""Memory that a computation allocates at its peak, as the allocator counts it."""

from collections.abc import Callable

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile


def allocated_peak(action: Callable[[], object], device: torch.device) -> int:
    """The peak of bytes allocated by an action, in addition to those allocated before."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        action()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as profiler:
        action()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = np.cumsum([e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())])
    return int(max(held.max(initial=0), 0))
