"""What is done on a GPU in which order, with stand-ins for what asks one."""

import contextlib
import dataclasses
import sys
import warnings

import pytest
import torch

from estbench import load_estimator
from estbench.engine.moments import moments
from estbench.engine.moments.moments import chunk_size, largest_tensor
from estbench.engine.profiling import timing
from estbench.engine.training import cuda_graph
from estbench.engine.training.cost_model import replicas_that_fit
from estbench.engine.training.ensemble import Ensemble
from estbench.errors import UserError
from estbench.execution import executors
from estbench.measures import training
from estbench.measures.gradient import Gradient
from estbench.measures.training import Training
from estbench.plugins.spec import Spec
from estbench.runtime import memory
from estbench.workflows import comparison
from tests.support.benches import SCHEDULED, bench, steps, training_runs
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


def free(monkeypatch, gigabytes, kept=0):
    """Has a GPU with so much free memory, and more that torch keeps for later use."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (gigabytes * 2**30, 141 * 2**30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: (kept + 1) * 2**30)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 2**30)


def test_memory_that_torch_keeps_is_free(monkeypatch):
    """So a second measurement has the chunks of the first: a quarter of what is free, as a power of two."""
    free(monkeypatch, 2, kept=8)
    assert memory.free(GPU) == 10 * 2**30
    assert chunk_size(2**20, 0, GPU) == 2**11
    assert chunk_size(3 * 2**20, 0, GPU) == 2**9


@pytest.mark.parametrize("gigabytes", [16, 40, 139])
def test_chunks_have_a_ceiling(gigabytes, monkeypatch):
    """On cards with 16 GiB and more the chunk is the same, whatever else they hold: the values are too."""
    free(monkeypatch, gigabytes)
    assert chunk_size(2**20, 0, GPU) == 2**12
    assert chunk_size(100, 0, GPU) == 2**15


def test_a_chunk_on_a_cpu_does_not_follow_free_memory(monkeypatch):
    """What other programs leave decides no random numbers."""
    monkeypatch.setattr(memory, "free", lambda _: 2**20)
    monkeypatch.setattr(moments, "free", lambda _: 2**20)
    assert chunk_size(2**20, 0, torch.device("cpu")) == 2**6


def test_the_entries_of_a_chunk_can_be_counted_in_32_bits():
    """The largest tensor of all replicates in flight has fewer than 2^31 entries, whatever memory there is."""
    assert chunk_size(2**10, 2**40, GPU, 2**20) == 2**10
    assert chunk_size(2**10, 2**40, GPU, 2**32) == 1
    assert largest_tensor(lambda: {"logits": torch.zeros(30, 4).sum(1)}) == 120


def test_a_chunk_that_was_recorded_can_be_asked_for(monkeypatch):
    """With it the values are those of the first time, on a device that would choose another."""
    makers = {"rloo": lambda: load_estimator("rloo")}

    def rows(**options):
        measure = Gradient(256, 64, after=0, groups="logits", **options)
        return {row.metric: row.value for _, row in measure.rows(bench("toy[units=3]", device="cpu"), makers)}

    first, other = rows(budget=2**14), rows()
    assert first["chunk/logits"] != other["chunk/logits"]
    assert first["variance/logits"] != other["variance/logits"]
    assert rows(chunk=int(first["chunk/logits"])) == pytest.approx(first, nan_ok=True)
    with pytest.raises(ValueError, match="cannot be negative; got budget=0, chunk=-1"):
        rows(chunk=-1)


def test_an_ensemble_is_as_large_as_memory_has_room_for(monkeypatch):
    """Parameters, a step and an evaluation of replicas are set aside; on a CPU all are taken together."""
    (one,) = training_runs("vae[units=20,hidden=200]", "rloo", 1, device="cpu")
    assert replicas_that_fit(one) > 2**32
    on_gpu = dataclasses.replace(one.bench, device=GPU)
    monkeypatch.setattr(type(one.bench), "aside", lambda *_: contextlib.nullcontext())
    one.bench = on_gpu
    fitting = []
    for gigabytes in (1, 4, 8):
        free(monkeypatch, gigabytes)
        fitting.append(replicas_that_fit(one))
    assert 1 <= fitting[0] < fitting[1] < fitting[2]
    # the step is as large as it was counted: 4 GiB more, three quarters of them, for what a replica takes
    state = sum(x.nbytes for x in one.model.parameters())
    assert (fitting[2] - fitting[1]) * 8 * state < 3 * 2**30


def test_what_is_short_of_memory_is_halved(monkeypatch):
    """64 replicas become twice 32, then four times 16, and are as many as have room, not one after another."""
    made = []

    class Room(Ensemble):
        def __init__(self, group):
            made.append(len(group))
            if len(group) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            super().__init__(group)

    monkeypatch.setattr(training, "Ensemble", Room)
    found = Training(2, 1, 0, 10).together([member(small(), "rloo", seed) for seed in range(7)])
    assert made == [7, 4, 2, 2, 3, 2]
    assert all(each.error is None and "OutOfMemoryError: CUDA out of memory" in each.note for each in found)
    assert [{row.replicas for row in each.rows} for each in found] == [{2}] * 6 + [{1}]


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
    with pretended(monkeypatch) as where:
        ensemble = Ensemble(training_runs(SCHEDULED, "rloo", 2), graphs=False)
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
