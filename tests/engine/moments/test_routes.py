"""Replicates by vmap where it has them right, else by a loop."""

import functools
import random

import numpy as np
import pytest
import torch

from estbench import Bernoulli, Pathwise, load_estimator, load_task
from estbench.engine.base import Bench, MeasurementError
from estbench.measures.gradient import Gradient

REPLICATES = 512


class _Through(torch.autograd.Function):
    """Of the old form, which torch.func cannot map."""

    @staticmethod
    def forward(_ctx, uniform, p):
        return (uniform < p).to(p)

    @staticmethod
    def backward(_ctx, gradient):
        return None, gradient


class StraightThrough(Pathwise):
    """Straight-through with uniform noise that a subclass draws, with the derivative of the probability."""

    accepts, unbiased, hard, paper = (Bernoulli,), False, True, ""

    def uniform(self, like):
        return torch.rand_like(like)

    def sample(self, name, node):
        p = node.logits.sigmoid()
        return (self.uniform(p) < p).to(p) + p - p.detach()


class OldFunction(StraightThrough):
    def sample(self, name, node):
        p = node.logits.sigmoid()
        return _Through.apply(torch.rand_like(p), p)


class Looks(StraightThrough):
    def uniform(self, like):
        found = torch.rand_like(like)
        return found if found.sum().item() > -1 else like


class BranchesOnValues(StraightThrough):
    def uniform(self, like):
        found = torch.rand_like(like)
        return like if (found > 2).any() else found


class NumpyGlobal(StraightThrough):
    def uniform(self, like):
        return torch.as_tensor(np.random.rand(*like.shape)).to(like)  # noqa: NPY002


class PythonGlobal(StraightThrough):
    def uniform(self, like):
        return torch.tensor([random.random() for _ in range(like.numel())]).view(like.shape).to(like)


class NumpyOwn(StraightThrough):
    def __init__(self):
        super().__init__()
        self.generator = np.random.default_rng(0)

    def uniform(self, like):
        return torch.as_tensor(self.generator.random(tuple(like.shape))).to(like)


class TorchOwn(StraightThrough):
    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def uniform(self, like):
        return torch.rand(like.shape, generator=self.generator).to(like)


class Fixed(StraightThrough):
    def uniform(self, like):
        return torch.as_tensor(np.random.default_rng(0).random(tuple(like.shape))).to(like)


class FixedByTorch(StraightThrough):
    def uniform(self, like):
        return torch.rand(like.shape, generator=torch.Generator().manual_seed(0)).to(like)


def measured(make, task="toy[units=4]", groups="logits", seed=0):
    task = load_task(task)
    baseline = functools.partial(load_estimator, task.baseline)
    where = Bench(
        task, seed, torch.device("cpu"), torch.float32, baseline, lambda m: load_estimator("exact", samples=m)
    )
    measure = Gradient(REPLICATES, after=0, groups=groups)
    return {row.metric: row for _, row in measure.rows(where, {"x": make})}


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (OldFunction, "setup_context"),
        (Looks, "item"),
        (BranchesOnValues, "data-dependent"),
        (NumpyGlobal, "NumPy or Python"),
        (PythonGlobal, "NumPy or Python"),
        (NumpyOwn, "out of its reach"),
        (TorchOwn, "out of its reach"),
    ],
)
def test_a_loop_has_the_figures_of_vmap(make, reason):
    """What vmap cannot map, or has no replicates of, has the same variance and bias by a loop, said in one note.

    Both variances are from 512 replicates of a hard sample; they differ by no more than 4 standard errors each.
    """
    mapped, looped = measured(StraightThrough), measured(make)
    assert "note" not in mapped
    assert reason in looped["note"].error
    assert "\n" not in looped["note"].error
    assert looped["chunk/logits"].value == 1
    one, other = mapped["variance/logits"], looped["variance/logits"]
    assert one.value > 0
    assert abs(one.value - other.value) < 2 * ((one.high - one.low) + (other.high - other.low))
    assert looped["unbiased_p/logits"].value > 1e-4


@pytest.mark.parametrize("make", [Fixed, FixedByTorch])
def test_a_fixed_seed_is_no_low_variance(make):
    """Replicates that are equal since their noise is have no variance to report: it is said."""
    with pytest.raises(MeasurementError, match="generator with a fixed seed"):
        measured(make)


@pytest.mark.parametrize("name", ["exact", "local_expectation", "disarm", "rloo"])
def test_estimators_without_noise_or_with_torch_noise_are_mapped(name):
    """What has no variance by its nature is not taken for one with a fixed seed, and takes no loop."""
    assert "note" not in measured(functools.partial(load_estimator, name))


@pytest.mark.parametrize("name", ["reinforce", "rloo", "straight_through"])
def test_a_single_bit_that_came_out_alike_twice_takes_no_loop(name):
    """Two seeds give one bit the same value in half of the cases, which shows nothing about an estimator."""
    for seed in range(6):
        assert "note" not in measured(functools.partial(load_estimator, name), "toy[units=1]", seed=seed)


def test_a_single_bit_of_own_noise_takes_a_loop():
    """What draws a single bit out of the reach of torch's seed is found, although two draws often agree."""
    for seed in range(6):
        assert "out of its reach" in measured(NumpyOwn, "toy[units=1]", seed=seed)["note"].error


def test_shared_generators_are_left_as_they_were():
    """A measurement changes the state of neither NumPy's global generator nor Python's."""
    before = random.getstate(), np.random.get_state()[1].tobytes()  # noqa: NPY002
    measured(NumpyGlobal)
    assert before == (random.getstate(), np.random.get_state()[1].tobytes())  # noqa: NPY002


def test_a_loop_can_be_repeated():
    """Two measurements of what draws from NumPy have the same values."""
    assert measured(NumpyGlobal)["variance/logits"] == measured(NumpyGlobal)["variance/logits"]


def test_parameters_and_several_layers_are_looped_too():
    """By a loop there are the groups of parameters, and one note for all."""
    found = measured(OldFunction, "sigmoid_belief_net", "logits encoder decoder")
    assert {"variance/logits/z1", "variance/encoder", "variance/decoder", "note"} <= found.keys()
