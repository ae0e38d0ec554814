"""Steps as CUDA graphs on a GPU."""

import subprocess
import sys

import pytest
import torch

from estbench import ScoreFunction
from estbench.engine.training import cuda_graph
from estbench.engine.training.ensemble import Ensemble
from tests.support.replicas import member, small, training_runs

pytestmark = pytest.mark.cuda


class Copies(ScoreFunction):
    """Copies a number from the host to the device at every step."""

    unbiased = True
    paper = ""

    def baseline(self, _name, node, cost):
        return cost * 0 + torch.tensor([1.0], device=cost.device)


@pytest.mark.parametrize("optimizer", ["adam", "radam", "sgd", "rmsprop"])
@pytest.mark.parametrize("replicas", [1, 3])
def test_a_graph_takes_the_steps_that_its_capture_would(optimizer, replicas):
    """Replayed steps are those taken one by one, with views of the data, and the step is a graph indeed."""
    task = small(optimizer=optimizer, view="dynamic")
    members = [member(task, "nvil", seed, device="cuda") for seed in range(replicas)]
    graph, eager = Ensemble(training_runs(members)), Ensemble(training_runs(members), graphs=False)
    for _ in range(10):
        torch.testing.assert_close(graph.train(), eager.train(), rtol=1e-9, atol=0)
    assert not graph.note


def test_a_plugin_that_copies_from_the_host_trains_on_cuda_without_a_graph():
    """A step that waits for the host is taken one by one, with a reason."""
    ensemble = Ensemble(training_runs([member(small(), "x", device="cuda", make=Copies)]))
    for _ in range(5):
        assert ensemble.train().isfinite().all()
    assert "steps are not replayed" in ensemble.note


def test_nothing_in_the_loop_waits_for_the_device():
    """With views, a learning rate that falls at every step, and a new epoch, the host never waits."""
    task = "vae[units=5,binarisation=dynamic,optimizer=adam,decay=0.9,decay_every=1,batch_size=400]"
    ensemble = Ensemble(training_runs([member(task, "rloo", seed, device="cuda") for seed in range(2)]))
    for _ in range(cuda_graph.WARM_UP + 1):
        ensemble.train()
    with cuda_graph.unwaiting():
        for _ in range(6):
            losses = ensemble.train()
    assert not ensemble.note
    assert losses.isfinite().all()


FAILS = """
import torch
from estbench.engine.training.cuda_graph import captured
x, main = torch.ones(3, device="cuda"), torch.cuda.current_stream()
try:
    captured(lambda inputs: inputs[0] * inputs[0].sum().item(), [x], x.device)
except RuntimeError:
    assert torch.cuda.current_stream() == main
    assert torch.rand(3, device="cuda").isfinite().all()
    replay, output = captured(lambda inputs: inputs[0] * 2, [x], x.device)
    replay()
    print(output.tolist())
"""


def test_after_a_capture_that_failed_torch_goes_on():
    """Its stream is the one before, its generator gives numbers, and the next capture is one."""
    done = subprocess.run([sys.executable, "-c", FAILS], capture_output=True, text=True, check=False)
    assert done.stdout == "[2.0, 2.0, 2.0]\n", done.stderr
