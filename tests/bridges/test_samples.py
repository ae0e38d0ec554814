"""The bridge ``pathwise``."""

import functools
import random

import numpy as np
import pytest
import torch
from torch.distributions import RelaxedBernoulli, RelaxedOneHotCategorical
from torch.nn import functional

from estbench import Categorical, load_estimator
from estbench.bridges import pathwise
from estbench.core.estimator import NotApplicableError
from estbench.testing import run_checks
from tests.bridges import compared


def relaxed(logits, temperature):
    return RelaxedOneHotCategorical(torch.tensor(temperature), logits=logits).rsample()


def relaxed_bits(logits, temperature):
    return RelaxedBernoulli(torch.tensor(temperature), logits=logits).rsample()


def of_package(name):
    def call(logits, **options):
        package = pytest.importorskip(name, reason=f"the package {name} is not installed")
        return getattr(package, name)(logits, **options)

    return call


PAIRS = [
    (functional.gumbel_softmax, {"tau": 0.7}, "gumbel_softmax[temperature=0.7]"),
    (functional.gumbel_softmax, {"tau": 0.7, "hard": True}, "st_gumbel_softmax[temperature=0.7]"),
    (relaxed, {"temperature": 0.7}, "gumbel_softmax[temperature=0.7]"),
    (of_package("reinmax"), {"tau": 1.3}, "reinmax[temperature=1.3]"),
    (of_package("redge"), {"n_steps": 3, "t_1": 0.3}, "redge[steps=3,t_1=0.3]"),
]


@pytest.mark.parametrize(("function", "options", "own"), PAIRS, ids=[f"{own}-{n}" for n, (*_, own) in enumerate(PAIRS)])
@pytest.mark.parametrize("kind", ["bits", "classes"])
def test_a_function_has_the_gradient_of_our_estimator(function, options, own, kind):
    """Means and variances of 20,000 gradients are those of estbench's own estimator of this name."""
    torch.manual_seed(3)
    found = compared.gradients(pathwise(function, **options), kind)
    compared.assert_same(found, compared.gradients(load_estimator(own), kind))


def test_another_temperature_is_told_apart():
    """The comparison can fail: a temperature of .7 and one of 1 have gradients of different variance."""
    torch.manual_seed(3)
    found = compared.gradients(pathwise(functional.gumbel_softmax, tau=0.7), "bits")
    other = compared.gradients(load_estimator("gumbel_softmax[temperature=1.0]"), "bits")
    assert compared.z_of_variances(found, other).abs().max() > 5


def test_a_function_of_bits_takes_bits_only():
    """With event_dim=0 it has the gradient of the binary relaxation, and classes are refused."""
    torch.manual_seed(3)
    estimator = pathwise(relaxed_bits, event_dim=0, temperature=0.7)
    compared.assert_same(
        compared.gradients(estimator, "bits"),
        compared.gradients(load_estimator("gumbel_softmax[temperature=0.7]"), "bits"),
    )
    with pytest.raises(NotApplicableError, match="logits of bits; got a Categorical node"):
        compared.gradients(estimator, "classes", 2)


def test_what_samples_are_is_found_out():
    """Samples that are 0 and 1 are taken for exact ones, unless the user says otherwise."""
    assert pathwise(functional.gumbel_softmax, hard=True).exact_samples
    assert not pathwise(functional.gumbel_softmax).exact_samples
    assert not pathwise(functional.gumbel_softmax, hard=True, exact_samples=False).exact_samples


def test_samples_that_do_not_follow_the_node_keep_the_score():
    """A cost of log q only has gradient 0 in the mean; for samples of another distribution the score's mean remains."""

    def often_one(logits):
        return functional.gumbel_softmax(logits + torch.linspace(0, 2, logits.shape[-1]), 0.5, hard=True)

    def mean_gradient(exact):
        torch.manual_seed(0)
        own = compared.node("bits", 2000)
        estimator = pathwise(often_one, exact_samples=exact)
        estimator(lambda sample: sample("z", own)[1]).backward()
        return own.logits.grad.sum(0)

    assert (mean_gradient(None) - mean_gradient(False)).abs().max() > 0.1


def test_random_streams_are_left_alone():
    """Making a bridge draws samples for a trial and leaves torch's, NumPy's and Python's streams where they were."""

    def noisy(logits):
        noise = random.random() + float(np.random.rand())  # noqa: NPY002  (as other libraries do)
        return (logits + noise * torch.randn_like(logits)).softmax(-1)

    torch.manual_seed(5), random.seed(5), np.random.seed(5)  # noqa: NPY002
    wanted = torch.rand(()), random.random(), np.random.rand()  # noqa: NPY002
    torch.manual_seed(5), random.seed(5), np.random.seed(5)  # noqa: NPY002
    pathwise(noisy)
    assert (torch.rand(()), random.random(), np.random.rand()) == wanted  # noqa: NPY002


@pytest.mark.long
def test_the_checks_take_a_bridge():
    """A function that is declared to be unbiased and is not fails the checks."""
    made = functools.partial(pathwise, functional.gumbel_softmax, hard=True, unbiased=True)
    (found,) = run_checks(made, only=["unbiased[bernoulli, 1 layer]"])
    assert found.verdict == "failed"
    assert "% off" in found.reason


def narrow(logits):
    return logits.softmax(-1)[..., :1]


WRONG = [
    (torch.zeros_like, {}, "has no derivative with respect to the logits"),
    (narrow, {}, r"a sample in the shape of its logits, \(2, 2, 3\); got shape \(2, 2, 1\)"),
    (lambda logits: 3, {}, "got a int"),
    (lambda logits: logits @ logits, {}, r"fails on logits of shape \(2, 2, 3\): RuntimeError"),
    (functional.gumbel_softmax, {"temperature": 1}, "gumbel_softmax has no option 'temperature'"),
    (functional.gumbel_softmax, {"event_dim": 2}, "got 2"),
]


@pytest.mark.parametrize(("function", "options", "message"), WRONG)
def test_a_wrong_function_is_one_line(function, options, message):
    """The line names the function, and says what it must do and what it did."""
    with pytest.raises(ValueError, match=message) as error:
        pathwise(function, **options)
    assert "\n" not in str(error.value)


def test_what_is_no_function():
    """A value in place of a function is a TypeError."""
    with pytest.raises(TypeError, match="a bridge takes a function; got a int"):
        pathwise(3)


def test_an_option_with_a_name_of_the_bridge_is_bound_by_partial():
    """A function whose own option is called ``unbiased`` is given it by ``functools.partial``."""

    def own(logits, unbiased):
        return (logits * unbiased).softmax(-1)

    estimator = pathwise(functools.partial(own, unbiased=2.0))
    logits = torch.tensor([[0.5, -0.5]])
    found = estimator.sample("z", Categorical(logits))
    torch.testing.assert_close(found, (2 * logits).softmax(-1))
