"""What runs on a GPU mixes no devices and does not wait, as far as that shows without one."""

import itertools

import pytest
import torch

from estbench import Bernoulli, Categorical, load_estimator
from estbench.engine.moments.points import Point
from estbench.engine.moments.replicates import Replicates
from estbench.engine.moments.variables import Groups
from estbench.engine.training import ensemble, random_tape, run_group
from estbench.engine.training.ensemble import Ensemble
from estbench.engine.training.minibatches import Minibatches
from estbench.measures import training
from estbench.measures.gradient import Gradient
from tests.support import pretended_gpu
from tests.support.benches import (
    CONVOLUTIONS,
    ESTIMATORS,
    FAMILIES,
    NODES,
    SCHEDULED,
    TASKS,
    bench,
    figures,
    steps,
    training_runs,
)
from tests.support.pretended_gpu import CUDA, Generator, MixedDevicesError, pretended, without_streams
from tests.support.sweeps import sweep


@pytest.fixture
def gpu(monkeypatch):
    """A pretended GPU, where graphs are replays of their steps."""
    without_streams(monkeypatch)
    with pretended(monkeypatch) as where:
        yield where


def test_mixed_devices_are_found(gpu):
    """Tensors of two devices, and a generator of another than its tensor, are errors as on a GPU; numbers are none."""
    x = torch.ones(3, device="cuda")
    assert (x.device, (x * 2).sum().device, (x + torch.tensor(2.0)).is_cuda) == (CUDA, CUDA, True)
    for mixed in (
        lambda: x + torch.zeros(3),
        lambda: torch.func.vmap(lambda a: a * torch.ones(2))(torch.ones(3, 2, device="cuda")),
        lambda: torch.rand(3, device="cuda", generator=Generator()),
        lambda: torch.nn.Linear(3, 2)(x),
    ):
        with pytest.raises(MixedDevicesError):
            mixed()
    assert not gpu.waits
    assert torch.nn.Linear(3, 2).to(x)(x).is_cuda


@pytest.mark.parametrize(
    "reads",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.sum() > 0),
        lambda x: x[x > 0],
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x.nonzero(),
        lambda x: torch.tensor([1.0], device=x.device),
        lambda x: x.copy_(torch.zeros(3)),
    ],
)
def test_waiting_is_found(reads, gpu):
    """Reading a value, shapes that values decide, and copies between host and device are noted with their line."""
    reads(torch.ones(3, device="cuda"))
    assert sum(gpu.waits.values()) > 0
    assert "test_pretended.py" in next(iter(gpu.waits))


ACCEPTED = {"bernoulli": Bernoulli, "categorical": Categorical}


def accepts(name, kind):
    return issubclass(kind, load_estimator(name).accepts)


EVERY = [
    *((name, nodes) for name, nodes in itertools.product(ESTIMATORS, ACCEPTED) if accepts(name, ACCEPTED[nodes])),
    *((name, "layers") for name in FAMILIES),
]


@pytest.mark.parametrize(
    ("name", "nodes"),
    # every estimator on one kind of node, and one with layers
    sweep(EVERY, [*{name: (name, nodes) for name, nodes in reversed(EVERY[: -len(FAMILIES)])}.values(), EVERY[-1]]),
)
def test_no_estimator_mixes_devices_or_waits(name, nodes, gpu, monkeypatch):
    """On the GPU it trains alone and in an ensemble, and draws replicates of its gradient, without the host waiting."""
    # it looks at values, once
    monkeypatch.setattr(Ensemble, "_compare", lambda _: None)
    alone, *together = training_runs(NODES[nodes], name, 3)
    steps(gpu, alone.advance)
    steps(gpu, Ensemble(together, graphs=False).train)
    point = Point(0, alone.model, alone.minibatches.at(0))
    variables = Groups.of("logits").variables(alone.bench, point)[0]
    with torch.no_grad(), Replicates(variables.gradient(alone.estimator.eval(), point.program), 4, 1) as source:
        steps(gpu, lambda: [*source.draw([(4, 0)], lambda found: list(found.values()))])


@pytest.mark.parametrize("task", [*(name for name in TASKS if name != "semi_supervised"), SCHEDULED, CONVOLUTIONS])
def test_every_task_trains_and_is_evaluated(task, monkeypatch):
    """The whole measure runs there, replayed steps and falling learning rates included, with the values of the CPU.

    For once the GPU's generators give the CPU's numbers, so that what samples make of it is compared too.
    """
    expected = figures(task, "cpu")
    monkeypatch.setattr(pretended_gpu, "OTHER_NUMBERS", 0)
    without_streams(monkeypatch)
    # a GPU takes more at once, and where parts end is where other random numbers begin
    monkeypatch.setitem(random_tape.AT_ONCE, "cuda", random_tape.AT_ONCE["cpu"])
    for module in (training, ensemble):
        monkeypatch.setattr(module, "rows_at_once", lambda _: run_group.rows_at_once(torch.device("cpu")))
    with pretended(monkeypatch):
        found = figures(task, "cuda")
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)


def moments_on(task, device):
    """The values of the gradient, without those that the size of a chunk decides.

    In double precision no rounding turns a sample over.
    """
    measure = Gradient(64, 64, after=4, minibatches=64, chunk=64)
    makers = {"rloo": lambda: load_estimator("rloo").double()}
    rows = (row for _, row in measure.rows(bench(task, device=device, dtype=torch.float64), makers))
    return {(row.metric, row.step): row.value for row in rows if not row.metric.startswith("chunk")}


def test_bias_and_variance_are_measured(monkeypatch):
    """Moments, reference and their journal lie on the device, with the values of the CPU."""
    expected = moments_on("sigmoid_belief_net", "cpu")
    monkeypatch.setattr(pretended_gpu, "OTHER_NUMBERS", 0)
    with pretended(monkeypatch):
        found = moments_on("sigmoid_belief_net", "cuda")
    assert found == pytest.approx(expected, rel=1e-3, nan_ok=True)


@pytest.mark.parametrize("task", ["sigmoid_belief_net", SCHEDULED])
def test_variances_are_of_the_same_minibatches(task, monkeypatch):
    """Variances are those of the CPU though the GPU's generators give other numbers."""
    expected = moments_on(task, "cpu")
    with pretended(monkeypatch):
        found = moments_on(task, "cuda")
    variances = {name: value for name, value in expected.items() if "variance/" in name[0]}
    assert len(variances) > 8
    assert {name: found[name] for name in variances} == pytest.approx(variances, rel=1e-3, nan_ok=True)


@pytest.mark.parametrize("task", [SCHEDULED, "vae[units=3,hidden=4]", CONVOLUTIONS, "toy[units=3]"])
def test_a_seed_has_the_same_minibatches_on_every_device(task, monkeypatch):
    """Order, views and what is added to them are the CPU's numbers, for training, measuring and evaluation."""

    def seen(device):
        where = [bench(task, seed, device) for seed in range(2)]
        rows = [Minibatches(where[:1]).at(step) for step in (0, 1, 0)] + [next(where[0].minibatches())]
        rows += [next(where[0].minibatches("random minibatch", 1)), where[0].view(where[0].on_cpu().train, "view")]
        return [Minibatches(where).order(1), *(x for batch in rows for x in batch)]

    expected = seen("cpu")
    with pretended(monkeypatch):
        found = seen("cuda")
        assert all(x.is_cuda for x in found)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)
    with pretended(monkeypatch):
        other = torch.rand(3, device="cuda", generator=torch.Generator("cuda").manual_seed(0)).cpu()
    assert not torch.equal(other, torch.rand(3, generator=torch.Generator().manual_seed(0)))
