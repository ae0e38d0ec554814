"""The total variance over minibatches, and its parts."""

import functools
import math

import pytest
import torch
from torch import nn

from estbench import load_estimator, load_task
from estbench.core.node import Bernoulli
from estbench.core.task import Splits, Task
from estbench.engine.base import Bench
from estbench.engine.moments.minibatch_variance import halves
from estbench.engine.moments.moments import fresh
from estbench.measures.gradient import Gradient

FEATURES = torch.tensor([[0.5], [-1.0], [2.0], [0.1]])
TARGETS = torch.tensor([[0.9], [0.2], [0.6], [0.0]])


class Scalar(Task):
    """Four examples, taken one at a time: one bit each, whose logit is linear in the feature."""

    objective = "loss"
    baseline = "rloo"
    oracle = "exact"
    batch_size = 1

    def model(self):
        return Model()

    def splits(self):
        return Splits(*[(FEATURES, TARGETS)] * 3)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(1, 1)
        nn.init.constant_(self.encoder.weight, 0.7)
        nn.init.constant_(self.encoder.bias, -0.3)

    def forward(self, x, target):
        def program(sample):
            b, _ = sample("b", Bernoulli(self.encoder(x)))
            return (b - target).square().sum(-1)

        return program


def enumerated():
    """The two parts of the variance of REINFORCE's gradient by weight and bias, over all examples and bits."""
    p = (0.7 * FEATURES - 0.3).sigmoid()
    bits, odds = torch.tensor([0.0, 1.0]), torch.cat([1 - p, p], 1)
    scores = (bits - TARGETS).square() * (bits - p)
    gradients = scores[:, :, None] * torch.cat([FEATURES, torch.ones(4, 1)], 1)[:, None, :]
    means = (odds[:, :, None] * gradients).sum(1)
    sampling = (odds[:, :, None] * (gradients - means[:, None]).square()).sum((1, 2)).mean()
    return sampling.item(), (means - means.mean(0)).square().sum(1).mean().item()


def bench(task):
    baseline = functools.partial(load_estimator, task.baseline)
    return Bench(task, 0, torch.device("cpu"), torch.float32, baseline, lambda m: load_estimator("exact", samples=m))


def measured(task, name, **options):
    measure = Gradient(64, 64, after=0, groups="encoder", **options)
    return {row.metric: row for _, row in measure.rows(bench(task), {name: functools.partial(load_estimator, name)})}


def test_both_parts_are_those_of_an_enumeration():
    """On four examples of one bit the intervals hold what all examples and bits together give; the parts add up."""
    found = measured(Scalar(), "reinforce", minibatches=16_384)
    sampling, minibatch = enumerated()
    truths = {"sampling": sampling, "minibatch": minibatch, "total": sampling + minibatch}
    for name, truth in truths.items():
        row = found[f"{name}_variance/encoder"]
        assert row.low <= truth <= row.high
        assert row.high - row.low < truth / 5
        assert row.n == 16_384
    parts = found["sampling_variance/encoder"].value + found["minibatch_variance/encoder"].value
    assert found["total_variance/encoder"].value == pytest.approx(parts)
    each = found["total_variance_per_coordinate/encoder"].value
    assert each == pytest.approx(found["total_variance/encoder"].value / 2)
    assert found["log_total_variance_per_coordinate/encoder"].value == pytest.approx(math.log(each))


def test_an_exact_gradient_has_the_variance_of_the_minibatch_alone():
    """Of a gradient without noise the part of sampling is 0 and the rest that of the exact gradients."""
    found = measured(Scalar(), "exact", minibatches=4096)
    row = found["minibatch_variance/encoder"]
    assert found["sampling_variance/encoder"].value == 0
    assert row.low <= enumerated()[1] <= row.high


@pytest.mark.parametrize("simulations", [25, pytest.param(100, marks=pytest.mark.long)])
@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_the_parts_are_unbiased_even_where_there_is_no_variance_of_the_minibatch(spread, simulations):
    """Over many simulations the mean of each part is within 5 standard errors of the truth, whatever the chunks."""
    torch.manual_seed(0)
    sums = []
    for _ in range(simulations):
        found = halves(
            lambda x: {"encoder": spread * x + torch.randn(3)},
            lambda _: (torch.randn(3),),
            64,
            chunk=1,
            seeds=fresh,
        )["encoder"]
        sums.append([row.value for row in found.rows("encoder", lambda again=found: again)][:3])
    means, errors = torch.tensor(sums).mean(0), torch.tensor(sums).std(0) / simulations**0.5
    truth = torch.tensor([3 + 3 * spread**2, 3.0, 3 * spread**2])
    assert ((means - truth).abs() < 5 * errors).all()


@pytest.mark.parametrize(
    "name", ["sigmoid_belief_net", "structured_prediction[units=4]", "semi_supervised[width=2,batch_size=20]"]
)
def test_any_task_can_be_measured_over_its_minibatches(name):
    """Tasks with several layers, two tensors to a batch, or labelled examples beside it: both parts are positive."""
    found = measured(load_task(name), "rloo", minibatches=64)
    assert found["sampling_variance/encoder"].value > 0
    assert found["total_variance/encoder"].value > 0


def test_without_minibatches_there_is_none_of_it():
    """By default the minibatch is fixed."""
    assert not any("total" in metric for metric in measured(Scalar(), "rloo"))
