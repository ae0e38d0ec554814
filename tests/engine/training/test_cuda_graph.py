"""Steps as CUDA graphs: what is captured, what is not, and why."""

import contextlib
import functools

import pytest
import torch

from estbench import ScoreFunction
from estbench.engine.training import cuda_graph
from estbench.engine.training.ensemble import Ensemble
from estbench.engine.training.random_tape import CannotTogetherError
from tests.support.pretended_gpu import without_streams
from tests.support.replicas import member, small, training_runs


def fails_at(calls, monkeypatch):
    """What six steps say, each of which doubles what it is given, where the step fails at some call of it."""
    without_streams(monkeypatch)
    made, taken = [0], []

    def step(inputs):
        made[0] += 1
        if made[0] in calls:
            raise RuntimeError("not here")
        taken.append(float(inputs[0]))
        return inputs[0] * 2

    def captured(step, inputs, device):
        step(inputs)
        taken.pop()
        return plain(step, inputs, device)

    plain = cuda_graph.captured
    monkeypatch.setattr(cuda_graph, "captured", captured)
    replayed = cuda_graph.Replayed(torch.device("cpu"))
    found = [float(replayed(step, [torch.tensor(float(x))])) for x in range(6)]
    assert found == [0, 2, 4, 6, 8, 10]
    assert taken == list(range(6))
    return replayed.reason


@pytest.mark.parametrize("call", [cuda_graph.WARM_UP, cuda_graph.WARM_UP + 1])
def test_a_step_that_cannot_be_captured_is_taken_step_by_step(call, monkeypatch):
    """Whether it waits in the last step before the capture, or the capture fails: each is taken once, with a reason."""
    assert fails_at({call}, monkeypatch) == "RuntimeError: not here"


def test_a_captured_step_reads_new_inputs_from_old_places(monkeypatch):
    """Where nothing fails the steps after the first are replays, and there is no reason."""
    assert not fails_at({}, monkeypatch)


def test_inputs_of_another_shape_are_no_replay(monkeypatch):
    """A minibatch that shrinks to one example is not broadcast over the places of the others: 1.0, and not 4.0."""
    without_streams(monkeypatch)
    replayed = cuda_graph.Replayed(torch.device("cpu"))
    sizes = [4, 4, 4, 4, 1, 4]
    assert [float(replayed(lambda inputs: inputs[0].sum(), [torch.ones(size)])) for size in sizes] == sizes
    assert not replayed.reason


class _Torch:
    """What a capture asks of torch on a GPU; notes it, and fails where it is told to."""

    def __init__(self, monkeypatch, fails):
        self.log, self.fails, self.graphs = [], fails, 0
        for name in ("CUDAGraph", "graph", "graph_pool_handle", "current_stream", "set_stream", "empty_cache"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))
        monkeypatch.setattr(cuda_graph, "_side", lambda _: "side")
        for name in ("_cuda_endAllocateToPool", "_cuda_releasePool"):
            monkeypatch.setattr(torch._C, name, functools.partial(self.undo, name), raising=False)

    class CUDAGraph:
        def replay(self):
            """Nothing."""

    @contextlib.contextmanager
    def graph(self, _graph, pool=None, stream=None):
        self.graphs += 1
        first = self.graphs == 1
        if first and self.fails == "enter":
            raise RuntimeError("cannot begin")
        yield
        if first and self.fails == "exit":
            raise RuntimeError("capture invalidated")

    def undo(self, name, device, pool):
        self.log.append((name, device, pool))

    def graph_pool_handle(self):
        return (0, 7)

    def current_stream(self, _device):
        return "main"

    def set_stream(self, stream):
        self.log.append(stream)

    def empty_cache(self):
        self.log.append("empty")


UNDONE = [("_cuda_endAllocateToPool", 0, (0, 7)), ("_cuda_releasePool", 0, (0, 7))]


@pytest.mark.parametrize(("fails", "undone"), [("exit", UNDONE), ("enter", UNDONE), ("step", [])])
def test_a_capture_that_fails_leaves_no_trace(fails, undone, monkeypatch):
    """Afterwards the stream is the one before, what nothing holds is freed, and steps are taken one by one.

    Torch's allocator is told that an invalidated capture is over, and its pool is given up, but not where torch has
    ended the capture itself.
    """
    there = _Torch(monkeypatch, fails)
    calls = []

    def step(inputs):
        calls.append(float(inputs[0]))
        if fails == "step" and len(calls) == 4:
            raise RuntimeError("not in a capture")
        return inputs[0] * 2

    monkeypatch.setattr(cuda_graph, "aside", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(cuda_graph, "unwaiting", contextlib.nullcontext)
    # tensors of the CPU for a GPU
    monkeypatch.setattr(torch, "zeros", lambda *_, **__: torch.ones(1))
    replayed = cuda_graph.Replayed(torch.device("cuda", 0))
    assert [float(replayed(step, [torch.tensor(float(x))])) for x in range(5)] == [0, 2, 4, 6, 8]
    assert replayed.reason.startswith("RuntimeError: ")
    assert [each for each in there.log if isinstance(each, tuple)] == undone
    assert there.log[-1] == "empty"
    assert "main" in there.log


@pytest.mark.parametrize(("version", "released"), [("2.11.0+cu130", True), ("2.13.1", True), ("2.14.0", False)])
def test_a_pool_is_released_once(version, released, monkeypatch):
    """Torch from 2.14 on releases it by itself, and a second time would end the process."""
    there = _Torch(monkeypatch, "exit")
    monkeypatch.setattr(torch, "__version__", version)
    cuda_graph._abandon((0, 7), torch.device("cuda", 0))
    assert ("_cuda_releasePool", 0, (0, 7)) in there.log or not released
    assert len(there.log) == 1 + released


class Counts(ScoreFunction):
    """Counts its steps in a plain number."""

    unbiased = True
    paper = ""

    def __init__(self):
        super().__init__()
        self.steps = 0

    def baseline(self, _name, node, cost):
        self.steps += 1
        return cost * 0 + 1 / self.steps


def test_what_a_graph_would_keep_as_it_was_is_refused():
    """An estimator whose plain number changes from step to step is trained alone, and the reason names it."""
    with pytest.raises(CannotTogetherError, match=r"estimator\.steps changes from step to step and is no buffer"):
        Ensemble(training_runs([member(small(), "x", make=Counts)]))
