"""Costs that hold the probability of the chosen expert, and values with gradients of their own."""

import pytest
import torch
from torch.func import grad, vmap

from estbench import Categorical, load_estimator
from estbench.plugins.registry import discover
from tests.support.gradients import FixedClasses, assert_unbiased

LOGITS, EXPERTS, TARGET = torch.tensor([0.5, -0.2, 0.1]).double(), torch.tensor([1.0, -0.5, 2.0]).double(), 0.3
POINT = torch.tensor([0.8, 0.3]).double()
CODES = torch.tensor([[1.0, 0], [0, 2], [-1, -1]]).double()
WANTED = torch.tensor([0.2, 0.9]).double()


def takes_classes(name):
    estimator = load_estimator(name)
    return Categorical in estimator.accepts and estimator.unbiased and estimator.bound == 1


# one example and no variables beside the gate: every unbiased estimator of the expected cost that takes classes
UNBIASED = sorted(name for name in discover("estimator").plugins if takes_classes(name))


def gated(node, *, detached=False):
    """Top-1 routing: the output of the chosen expert times its probability, squared distance from the target."""

    def program(sample):
        value, log_q = sample("gate", node)
        probability = (log_q.detach() if detached else log_q).exp()
        return (probability * (value.squeeze(-2) @ EXPERTS) - TARGET).square()

    return program


def gate_gradient(logits):
    """By enumeration and autograd, with the probability inside the cost."""

    def objective(logits):
        p = logits.softmax(-1)
        return (p * (p * EXPERTS - TARGET).square()).sum()

    return grad(objective)(logits)


def of_gate(name, number=4096, *, detached=False):
    """Gradients for the logits, ``(number, classes)``."""
    estimator = load_estimator(name).double()
    estimator.prepare(gated(Categorical(LOGITS[None, None]))).eval()

    def once(_):
        return grad(lambda logits: estimator(gated(Categorical(logits[None, None]), detached=detached)))(LOGITS)

    return vmap(once, randomness="different")(torch.zeros(number))


def test_the_gradient_of_a_gate_has_two_parts():
    """It is (-.0555, -.0065, .0620); code that only differentiates the chosen output has (-.0293, -.0269, .0562)."""
    p = LOGITS.softmax(-1)
    score = torch.eye(3).double() - p
    own = (p * 2 * (p * EXPERTS - TARGET) * p * EXPERTS) @ score
    torch.testing.assert_close(own, torch.tensor([-0.0293, -0.0269, 0.0562]).double(), atol=5e-5, rtol=0)
    whole = (p * (p * EXPERTS - TARGET).square()) @ score + own
    torch.testing.assert_close(whole, torch.tensor([-0.0555, -0.0065, 0.0620]).double(), atol=5e-5, rtol=0)
    torch.testing.assert_close(gate_gradient(LOGITS), whole)


@pytest.mark.parametrize("name", UNBIASED)
def test_unbiased_estimators_give_both_parts(name):
    """The mean of 4,096 gradients is the enumerated one, at a false-alarm rate of 1e-6; exp(log q) is the gate."""
    found = of_gate(name, 8 if name == "exact" else 4096)
    if name == "exact":
        torch.testing.assert_close(found[0], gate_gradient(LOGITS))
    else:
        assert_unbiased(found, gate_gradient(LOGITS))


def test_without_the_derivative_of_the_gate_a_part_is_missing():
    """With the probability detached, the mean of RLOO is not the gradient: the test above can fail."""
    with pytest.raises(AssertionError):
        assert_unbiased(of_gate("rloo", detached=True), gate_gradient(LOGITS))


def test_straight_through_adds_the_part_of_the_gate():
    """Its mean is the derivative through the sample plus the score weighted by the slope of log q, by enumeration."""
    estimator, p = load_estimator("straight_through"), LOGITS.softmax(-1)
    values = torch.eye(3).double()
    found = torch.stack(
        [
            grad(lambda logits, v=v: estimator(gated(FixedClasses(logits[None, None], value=v[None, None]))))(LOGITS)
            for v in values
        ]
    )
    slope = 2 * (p * EXPERTS - TARGET) * p
    # the sample appears in the output and, linearly, in log q
    direction = slope[:, None] * (EXPERTS + EXPERTS[:, None] * p.log())
    jacobian = p.diag() - p.outer(p)
    expected = (slope * EXPERTS)[:, None] * (values - p) + direction @ jacobian
    torch.testing.assert_close(p @ found, p @ expected)


def coded(point, codes, temperature=1.0):
    """A stochastic codebook: logits are minus squared distances, the cost is that of the chosen code."""
    node = Categorical(-(point - codes).square().sum(-1)[None, None] / temperature)

    def program(sample):
        value, _ = sample("code", node)
        return (value.squeeze(-2) @ codes - WANTED).square().sum(-1)

    return program


def test_the_gradient_of_a_codebook_is_the_instances():
    """For the point it is (-.0989, -.0850); the copied gradient has the sign of its first entry wrong."""
    exact = load_estimator("exact")
    of_point = grad(lambda x: exact(coded(x, CODES)))(POINT)
    torch.testing.assert_close(of_point, torch.tensor([-0.0989, -0.0850]).double(), atol=5e-5, rtol=0)
    p = (-(POINT - CODES).square().sum(-1)).softmax(-1)
    copied = p @ (2 * (CODES - WANTED))
    torch.testing.assert_close(copied, torch.tensor([1.504, -1.688]).double(), atol=5e-4, rtol=0)


@pytest.mark.parametrize("name", [name for name in UNBIASED if name != "exact"])
def test_codes_have_gradients_of_their_own(name):
    """The mean of 4,096 gradients for the point and for the codes, which are also the values, is the enumerated one.

    The temperature of 4 leaves no code so rare that a chi-squared test of 4,096 gradients would not hold.
    """
    exact = load_estimator("exact")
    whole = torch.cat([each.flatten() for each in grad(lambda x, e: exact(coded(x, e, 4.0)), (0, 1))(POINT, CODES)])
    estimator = load_estimator(name).double()
    estimator.prepare(coded(POINT, CODES, 4.0)).eval()

    def once(_):
        found = grad(lambda x, e: estimator(coded(x, e, 4.0)), (0, 1))(POINT, CODES)
        return torch.cat([each.flatten() for each in found])

    found = vmap(once, randomness="different")(torch.zeros(4096))
    varied = found.std(0) > 1e-12
    torch.testing.assert_close(found.mean(0)[~varied], whole[~varied])
    if varied.any():
        assert_unbiased(found[:, varied], whole[varied])
