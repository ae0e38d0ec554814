"""What is done on a GPU in which order, with stand-ins for what asks one."""

import sys
import warnings

import pytest
import torch

from estbench.engine.moments.moments import chunk_size
from estbench.engine.profiling import timing
from estbench.engine.training import cuda_graph
from estbench.errors import UserError
from estbench.execution import executors
from estbench.measures import training
from estbench.measures.training import Training
from estbench.plugins.spec import Spec
from estbench.runtime import memory
from estbench.workflows import comparison
from tests.support.pretended_gpu import pretended
from tests.support.replicas import member, small

GPU = torch.device("cuda")


def test_events_are_read_after_the_device_is_done(monkeypatch):
    """What ran before is over when the first event is recorded, and all calls are when the first is read."""
    log = []

    class Event:
        def __init__(self, *, enable_timing):
            assert enable_timing

        def elapsed_time(self, _end):
            log.append("read")
            return 2.0

    class Stream:
        def record_event(self, event):
            log.append("record")
            return event

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: Stream())
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: log.append("wait"))
    parts = [lambda: log.append("one"), lambda: log.append("other")]
    assert timing.seconds(parts, 2, GPU).tolist() == [0.002, 0.002]
    calls = ["one", "record", "other", "record"] * 2
    assert log == ["wait", "record", *calls, "wait", *["read"] * 4]


def test_a_clock_that_cannot_be_read_is_no_failure(monkeypatch):
    """Whatever the library that reads it raises, the rate is unknown."""

    def refuse(_):
        raise KeyError("not supported")

    monkeypatch.setattr(torch.cuda, "clock_rate", refuse)
    assert timing.clock(GPU) != timing.clock(GPU)


def test_memory_that_torch_keeps_is_free(monkeypatch):
    """So a second measurement has the chunks of the first: a quarter of what is free, as a power of two."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (40 * 2**30, 141 * 2**30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 100 * 2**30)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 2**30)
    assert memory.free(GPU) == 139 * 2**30
    assert chunk_size(2**20, 0, GPU) == 2**15
    assert chunk_size(3 * 2**20, 0, GPU) == 2**13


def test_what_is_short_of_memory_goes_on_alone_without_it(monkeypatch):
    """Each replica is trained alone once nothing holds the ensemble any more, and says why."""
    alone, held = Training._alone, []

    def noted(self, make, note):
        held.append(sys.exc_info()[1])
        return alone(self, make, note)

    def too_much(_group):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(training, "Ensemble", too_much)
    monkeypatch.setattr(Training, "_alone", noted)
    found = Training(2, 1, 0, 10).together([member(small(), "rloo", seed) for seed in range(2)])
    assert held == [None, None]
    assert all("OutOfMemoryError: CUDA out of memory" in each.note and each.error is None for each in found)


@pytest.mark.parametrize(
    ("device", "dtype", "executor", "devices", "message"),
    [
        ("cuda", "float32", "auto", 0, "no CUDA device is available here; got --device cuda"),
        ("cuda:2", "float32", "auto", 2, "numbered from 0 to 1; got --device cuda:2"),
        ("cpu", "tf32", "auto", 0, "--dtype tf32 is of GPUs, a CPU would compute in float32; got --device cpu"),
        ("cuda", "tf32", "auto", 1, ""),
        ("cuda", "bf16", "auto", 1, ""),
        ("cuda:1", "float32", "inline", 2, ""),
        ("cuda", "float32", "slurm", 0, ""),
        ("cpu", "bf16", "auto", 0, ""),
    ],
)
def test_a_gpu_that_is_not_here_is_refused(device, dtype, executor, devices, message, monkeypatch):
    """So is a kind of numbers that only one has; machines of a cluster may have what this one has not."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: devices > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
    if not message:
        comparison.check_device(device, dtype, executor)
        return
    with pytest.raises(UserError, match=message):
        comparison.check_device(device, dtype, executor)


def test_ray_is_told_to_share_out_gpus():
    """Without it would hide them from its tasks."""
    with pytest.raises(UserError, match=r"ray\[gpus=1\]"):
        executors.make(Spec("ray"), None, "cuda")


def test_learning_rates_that_fall_do_not_wait(monkeypatch):
    """They come from pinned memory, and a pretended GPU that copies otherwise notes it."""
    from estbench.engine.training.ensemble import Ensemble
    from tests.support.benches import SCHEDULED, steps, trainees

    with pretended(monkeypatch) as where:
        ensemble = Ensemble(trainees(SCHEDULED, "rloo", 2), graphs=False)
        steps(where, ensemble.train)


def test_the_mode_that_finds_waiting_is_quiet_and_ends(monkeypatch):
    """Torch warns of it, which is no reason to do without a graph; afterwards the mode is the one before."""
    modes = [0]

    def set_mode(mode):
        if len(modes) == 1:
            warnings.warn("a prototype", UserWarning, stacklevel=2)
        modes.append(mode)

    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: modes[-1])
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", set_mode)
    with pytest.raises(ZeroDivisionError), cuda_graph.unwaiting():
        1 / 0  # noqa: B018
    assert modes == [0, "error", 0]
