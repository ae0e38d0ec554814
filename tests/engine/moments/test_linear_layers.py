import functools
import itertools

import pytest
import torch

from estbench import load_estimator, load_task
from estbench.engine.base import Bench
from estbench.engine.moments.linear_layers import Layered, by_layers
from estbench.engine.moments.moments import BATCHES, moments
from estbench.engine.moments.points import Point
from estbench.engine.moments.variables import Groups, Logits, Parameters
from estbench.families.score_function import ScoreFunction
from estbench.plugins.registry import discover
from estbench.runtime import memory
from tests.support import WRONG
from tests.support.sweeps import sweep


class BatchBaseline(ScoreFunction):
    """Takes the mean cost of the other examples off."""

    unbiased = True
    paper = ""

    def baseline(self, name, node, cost):
        return (cost.sum(-1, keepdim=True) - cost) / (cost.shape[-1] - 1)


def seeds(batch, start):
    return 1000 * batch + start


def bench(name, **options):
    task = load_task(name, **options)
    return Bench(task, 0, torch.device("cpu"), torch.float64, functools.partial(load_estimator, "rloo"), None)


def point(where, examples=20):
    model = where.model()
    batch = next(where.minibatches())
    return Point(0, model, tuple(x[:examples] for x in batch))


def ways(where, estimator, groups="logits encoder", examples=20):
    """The general way to take the gradient for the encoder, and the one that is chosen."""
    at = point(where, examples)
    with torch.no_grad():
        estimator.prepare(at.program())
        estimator.eval()
        wanted = Groups.of(groups).variables(where, at)
        chosen = by_layers(where, wanted, estimator)
    general = next(each for each in wanted if isinstance(each, Parameters))
    return general, chosen


def found(variables, estimator, replicates, chunk=64):
    """Moments by group; the same noise whatever the variables are."""
    with torch.no_grad():
        gradient = variables.gradient(estimator, variables.point.program)
        return variables.grouped(moments(gradient, replicates, chunk, seeds, weights=variables.weights))


SMALL = {"units": 4, "batch_size": 20}


@pytest.mark.parametrize("hidden", ["", "6 5"])
@pytest.mark.parametrize("name", ["gumbel_softmax", "rloo"])
@pytest.mark.parametrize("options", [{}, {"kl": "analytic"}, {"latents": "categorical", "classes": 3}], ids=str)
def test_the_mean_by_layers_is_that_of_the_gradients_themselves(hidden, name, options):
    """With the same noise the encoder's mean gradient by layers is that of parameter gradients, batch by batch."""
    where, estimator = bench("vae", **SMALL, **options, hidden=hidden), load_estimator(name).double()
    general, [layered] = ways(where, estimator)
    assert isinstance(layered, Layered)
    one, other = (found(way, estimator, 2 * BATCHES)["encoder"] for way in (general, layered))
    assert one.means.shape == other.means.shape
    torch.testing.assert_close(one.means, other.means, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("hidden", "name"),
    sweep(itertools.product(["", "6 5"], ["gumbel_softmax", "disarm"]), [("", "gumbel_softmax"), ("6 5", "disarm")]),
)
def test_the_variance_by_layers_is_that_of_the_gradients_themselves(hidden, name):
    """Both ways agree on the variance of the encoder's gradient within their intervals; by layers it is narrower."""
    where, estimator = bench("vae", **SMALL, hidden=hidden), load_estimator(name).double()
    general, [layered] = ways(where, estimator)
    one, other = (found(way, estimator, 128 * BATCHES, 1024)["encoder"].variances for way in (general, layered))
    error = (one - other).std() / BATCHES**0.5
    assert (one.mean() - other.mean()).abs() < 4 * error
    assert other.std() < one.std()


def test_the_variance_by_layers_is_the_sum_over_examples():
    """It is the sum over examples of the variance of each one's own weight gradients, formed one by one."""
    where, estimator = bench("vae", **SMALL), load_estimator("gumbel_softmax").double()
    _, [layered] = ways(where, estimator, examples=3)
    own = found(layered, estimator, 2 * BATCHES)["encoder"]
    encoder = layered.point.model.encoder[0]
    inputs = []
    encoder.register_forward_hook(lambda _, taken, __: inputs.append(taken[0].detach()))
    layered.point.program()
    drawn = []
    logits = Logits(layered.point)
    with torch.no_grad():
        gradient = logits.gradient(estimator, layered.point.program)
        for batch in range(BATCHES):
            for start in range(2):
                torch.manual_seed(seeds(batch, start))
                drawn.append(torch.vmap(lambda _: gradient()["logits"], randomness="different")(torch.empty(1))[0])
    again = found(layered, estimator, 2 * BATCHES, chunk=1)["encoder"]
    deltas = torch.stack(drawn).reshape(BATCHES, 2, 3, 4)
    per_example = torch.einsum("brno,ni->brnoi", deltas, inputs[0])
    expected = per_example.var(1).sum((1, 2, 3)) + deltas.var(1).sum((1, 2))
    torch.testing.assert_close(again.variances, expected)
    assert own.n == again.n


def test_estimators_that_couple_examples_take_the_general_way():
    """A baseline computed from the batch is noticed."""
    _, chosen = ways(bench("vae", **SMALL), BatchBaseline().double(), examples=4)
    assert [type(each) for each in chosen] == [Logits, Parameters]


def test_estimators_that_declare_to_couple_examples_take_the_general_way():
    """Noise that the examples share, once declared, is measured with the covariances that layers alone would miss."""
    shared = discover("estimator", (str(WRONG / "shared_noise.py"),))["shared_noise"].load()
    declared = type("Declared", (shared,), {"couples_examples": True})
    where = bench("vae", **SMALL)
    general, [layered] = ways(where, shared().double())
    _, chosen = ways(where, declared().double())
    assert [type(each) for each in chosen] == [Logits, Parameters]
    truth, missed = (found(way, shared().double(), 64 * BATCHES)["encoder"].variances for way in (general, layered))
    assert (truth - missed).mean().abs() > 4 * (truth - missed).std() / BATCHES**0.5


def test_layers_that_read_samples_take_the_general_way():
    """An encoder whose second layer reads the first layer's samples is measured by its parameters."""
    where, estimator = bench("sigmoid_belief_net", layers=2), load_estimator("rloo").double()
    at = point(where)
    with torch.no_grad():
        wanted = Groups.of("logits encoder").variables(where, at)
        chosen = by_layers(where, wanted, estimator.eval())
    assert not any(isinstance(each, Layered) for each in chosen)


def test_other_groups_are_measured_beside_layers():
    """Where the decoder is asked for too, only the encoder goes by layers."""
    where, estimator = bench("vae", **SMALL), load_estimator("rloo").double()
    _, chosen = ways(where, estimator, "encoder decoder")
    assert [type(each) for each in chosen] == [Layered, Parameters]
    assert [list(each.groups) for each in chosen] == [["encoder"], ["decoder"]]


def test_memory_is_kept_by_the_process_once_asked():
    """Asking again changes nothing, and what is free is told in bytes."""
    assert memory.reuse() == memory.reuse()
    assert memory.free(torch.device("cpu")) > 2**20
