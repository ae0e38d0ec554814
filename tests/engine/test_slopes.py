"""Costs with log q in them in other ways than with a constant factor, through the machinery that makes replicates."""

import pytest
import torch
from torch import nn

from estbench import Bernoulli, Splits, Task, load_estimator
from estbench.engine.base import Bench
from estbench.engine.moments.points import Point
from estbench.engine.op_graph import recorded
from estbench.engine.training.ensemble import Ensemble
from estbench.engine.training.training_run import TrainingRun


class FreeBits(Task):
    """Two layers of two bits, whose divergences cost at least half a nat, on two examples."""

    objective = "loss"
    baseline = "rloo"
    oracle = "exact"
    batch_size = 2

    def model(self):
        return Net()

    def splits(self):
        data = (torch.tensor([[0.3], [-1.1]]),)
        return Splits(data, data, data)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.second = nn.Linear(1, 2), nn.Linear(2, 2)

    def forward(self, x):
        first = Bernoulli(self.encoder(x))

        def program(sample):
            a, log_a = sample("a", first)
            b, log_b = sample("b", Bernoulli(self.second(a)))
            free = (log_a + 1.386).clamp_min(0.5) + (log_b + 1.386).clamp_min(0.5)
            return free + (a.sum(-1) + b[..., 0] * x[..., 0] - 0.4).square()

        return program


def bench(seed=0):
    return Bench(FreeBits(), seed, torch.device("cpu"), torch.float32, lambda: load_estimator("rloo"), None)


@pytest.mark.parametrize("name", ["rloo", "disarm", "reinforce", "muprop", "unordered_set", "local_expectation"])
def test_replicates_of_a_recorded_graph_are_unbiased(name):
    """A graph of operations records the slopes: the mean of 64,000 of its replicates is the enumerated gradient."""
    where = bench()
    point = Point(0, where.model(), where.splits().train)
    estimator = load_estimator(name).prepare(point.program()).eval()
    exact = point.logit_gradient(load_estimator("exact"), point.program, "value")()
    one = point.logit_gradient(estimator, point.program, "value")
    many = torch.func.vmap(lambda _: one(), randomness="different")
    with torch.no_grad():
        graph = recorded(many, torch.empty(16_000), 0)
        assert graph is not None
        drawn = [graph(seed) for seed in range(4)]
    for part, truth in exact.items():
        values = torch.cat([each[part] for each in drawn]).double()
        error = values.mean(0) - truth.double()
        # the value and eight coordinates of six estimators: one false alarm in 30,000 runs
        assert bool((error.abs() <= 5 * values.std(0) / len(values) ** 0.5 + 1e-6).all()), (part, error)


def test_an_ensemble_has_the_gradients_of_its_replicas_alone():
    """Replicas with varying slopes train together as each does alone: the ensemble compares them as it begins."""
    training_runs = [TrainingRun(bench(seed), load_estimator("rloo"), "rloo") for seed in range(2)]
    alone = TrainingRun(bench(1), load_estimator("rloo"), "rloo")
    ensemble = Ensemble(training_runs)
    for _ in range(5):
        ensemble.train()
        alone.advance()
    ensemble.settle()
    for one, other in zip(training_runs[1].model.parameters(), alone.model.parameters(), strict=True):
        torch.testing.assert_close(one, other)
