"""The bridge ``jax``."""

import pytest
import torch

from estbench import UserError, load_estimator
from estbench.bridges import jax as through_jax
from tests.bridges import compared

jax = pytest.importorskip("jax", reason="jax is in no extra; pip install jax runs these tests")
REPLICATES = 4000


def gumbel_softmax(logits, key, tau=1.0):
    return jax.nn.softmax((logits + jax.random.gumbel(key, logits.shape)) / tau)


def leave_one_out(cost, logits, key):
    classes = jax.random.categorical(key, logits, shape=(2, *logits.shape[:-1]))
    found = cost(jax.nn.one_hot(classes, logits.shape[-1]))
    scores = (jax.nn.one_hot(classes, logits.shape[-1]) * jax.nn.log_softmax(logits)).sum((-1, -2))
    return (jax.lax.stop_gradient(found - found[::-1]) * scores).mean()


def pathwise_loss(cost, logits, key, tau=0.7):
    return cost(gumbel_softmax(logits, key, tau)).mean()


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("kind", ["bits", "classes"])
def test_a_sample_has_the_gradient_of_our_estimator(kind, jit):
    """Means and variances of 4,000 gradients are those of estbench's Gumbel-Softmax."""
    torch.manual_seed(7)
    found = compared.gradients(through_jax(gumbel_softmax, tau=0.7, jit=jit), kind, REPLICATES)
    own = load_estimator("gumbel_softmax[temperature=0.7]")
    compared.assert_same(found, compared.gradients(own, kind, REPLICATES))


@pytest.mark.parametrize("jit", [True, False])
def test_a_loss_has_the_gradient_of_our_estimator(jit):
    """Means and variances of 4,000 gradients are those of RLOO with two samples."""
    torch.manual_seed(7)
    found = compared.gradients(through_jax(leave_one_out, surrogate=True, jit=jit), "classes", REPLICATES)
    compared.assert_same(found, compared.gradients(load_estimator("rloo[samples=2]"), "classes", REPLICATES))


def test_samples_may_be_whole_numbers():
    """A loss that asks for the cost of one-hot samples of whole numbers has the gradient of REINFORCE."""

    def whole(cost, logits, key):
        z = jax.nn.one_hot(jax.random.categorical(key, logits), logits.shape[-1], dtype=int)
        return (cost(z) * (z * jax.nn.log_softmax(logits)).sum((-1, -2))).mean()

    torch.manual_seed(7)
    found = compared.gradients(through_jax(whole, surrogate=True), "classes", REPLICATES)
    compared.assert_same(found, compared.gradients(load_estimator("reinforce"), "classes", REPLICATES))


def test_seeds_come_from_torch():
    """The key is drawn from torch's generator: one seed has one gradient, and another another."""

    def at(seed):
        torch.manual_seed(seed)
        return compared.gradients(through_jax(gumbel_softmax), "classes", 2)

    assert (at(0) == at(0)).all()
    assert not (at(0) == at(1)).any()


def test_a_function_is_named_by_its_path():
    """The estimator ``function`` takes the kind ``jax``, in every process."""
    path = f"{__file__}:gumbel_softmax"
    torch.manual_seed(1)
    found = compared.gradients(load_estimator("function", path=path, kind="jax", tau=0.5), "bits", 2)
    torch.manual_seed(1)
    assert (found == compared.gradients(through_jax(gumbel_softmax, tau=0.5), "bits", 2)).all()


def test_a_wrong_function_is_one_line():
    """A function that raises is told in one line with the shape of the logits."""

    def fails(logits, key):
        raise ValueError("no\nsuch")

    with pytest.raises((ValueError, UserError), match=r"fails fails on logits of shape \(2, 2, 3\)") as error:
        through_jax(fails)
    assert "\n" not in str(error.value)
