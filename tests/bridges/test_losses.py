"""The bridge ``surrogate``."""

import pytest
import torch
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import OneHotCategorical

from estbench import Bernoulli, Categorical, load_estimator
from estbench.bridges import surrogate
from estbench.core.estimator import NotApplicableError
from estbench.testing import run_checks
from tests.bridges import compared


def leave_one_out(cost, logits, samples=2):
    """REINFORCE with the mean of the other samples' costs as the baseline, as one would write it by hand."""
    q = OneHotCategorical(logits=logits)
    z = q.sample((samples,))
    found = cost(z)
    advantage = found - (found.sum(0) - found) / (samples - 1)
    return (advantage.detach() * q.log_prob(z).sum(-1) + found).mean()


def leave_one_out_of_numbers(cost, logits, samples=2):
    """The same where costs are numbers, such as the rewards of a trainer."""
    q = OneHotCategorical(logits=logits)
    z = q.sample((samples,))
    found = cost(z)
    advantage = found - (found.sum(0) - found) / (samples - 1)
    return (advantage * q.log_prob(z).sum(-1)).mean()


def reinforce_of_bits(cost, logits):
    q = TorchBernoulli(logits=logits)
    z = q.sample()
    found = cost(z)
    return (found.detach() * q.log_prob(z).sum(-1) + found).mean()


@pytest.mark.parametrize("kind", ["bits", "classes"])
@pytest.mark.parametrize("samples", [2, 4])
def test_a_loss_has_the_gradient_of_our_estimator(kind, samples):
    """Means and variances of 20,000 gradients are those of RLOO with as many samples."""
    torch.manual_seed(4)
    found = compared.gradients(surrogate(leave_one_out, samples=samples), kind)
    compared.assert_same(found, compared.gradients(load_estimator(f"rloo[samples={samples}]"), kind))


def test_costs_as_numbers_have_the_same_gradient():
    """A loss that sees the costs as numbers is given their own derivative by the bridge."""
    torch.manual_seed(4)
    found = compared.gradients(surrogate(leave_one_out_of_numbers, detached=True), "classes")
    compared.assert_same(found, compared.gradients(load_estimator("rloo[samples=2]"), "classes"))


def test_a_loss_of_bits():
    """With event_dim=0 a loss takes logits and samples of bits; its gradient is that of REINFORCE."""
    torch.manual_seed(4)
    found = compared.gradients(surrogate(reinforce_of_bits, event_dim=0), "bits")
    compared.assert_same(found, compared.gradients(load_estimator("reinforce"), "bits"))


@pytest.mark.parametrize("detached", [False, True])
def test_the_cost_keeps_its_own_derivative(detached):
    """The gradient for a parameter of the cost is the mean of its derivative, here the classes' probabilities."""
    torch.manual_seed(6)
    own = compared.node("classes", compared.REPLICATES)
    weights = torch.zeros(compared.CLASSES.shape, requires_grad=True)
    loss = leave_one_out_of_numbers if detached else leave_one_out
    surrogate(loss, detached=detached)(lambda sample: (sample("z", own)[0] * weights).sum((-1, -2))).backward()
    error = (weights.grad - compared.CLASSES.softmax(-1)).abs()
    # a share of 40,000 samples has a standard error of at most 1/400; each of 8 is outside 5 of them in 2 of 10 million
    assert error.max() < 5 / 400


@pytest.mark.long
@pytest.mark.parametrize("function", [leave_one_out, leave_one_out_of_numbers])
def test_a_loss_passes_the_checks(function):
    """On a net with a decoder and a prior of its own, value and gradient estimate the objective; 1 % off would show."""
    detached = function is leave_one_out_of_numbers  # and drawn by a loop
    names = ["unbiased[bernoulli, 1 layer]", "value[bernoulli, 1 layer]", "seed", "untouched"]
    for found in run_checks(lambda: surrogate(function, detached=detached), only=names):
        assert found.verdict == "passed", found


def test_evaluations_are_counted():
    """How often a loss evaluates the cost is counted when it is prepared."""
    estimator = surrogate(leave_one_out, samples=5)
    nodes = [Bernoulli(torch.zeros(2, 3))]
    estimator.prepare(lambda sample: compared.cost(sample("z", nodes[0])[0]))
    assert estimator.evaluations(nodes) == 5


def test_programs_of_several_nodes_are_refused():
    """A surrogate takes the cost of one node's samples; another node is named in the refusal."""

    def two(sample):
        below = sample("first", Bernoulli(torch.zeros(2, 3)))[0]
        return sample("second", Bernoulli(below))[0].sum(-1)

    with pytest.raises(NotApplicableError, match="programs of one node; this one samples 'second' as well"):
        surrogate(leave_one_out).prepare(two)


def test_classes_are_refused_by_a_loss_of_bits():
    """A loss that takes logits of bits says so of a categorical node."""
    program = lambda sample: sample("z", Categorical(torch.zeros(2, 3, 4)))[0].sum((-1, -2))  # noqa: E731
    with pytest.raises(NotApplicableError, match="logits of bits; got a Categorical node"):
        surrogate(reinforce_of_bits, event_dim=0)(program)


WRONG = [
    (lambda cost, logits: cost(OneHotCategorical(logits=logits).sample()), "a scalar to call backward on; got shape"),
    (lambda cost, logits: cost(OneHotCategorical(logits=logits).sample()).mean(), "has no derivative"),
    (lambda cost, logits: None, "got a NoneType"),
    (lambda cost: cost, "fails on logits of shape"),
]


@pytest.mark.parametrize(("function", "message"), WRONG)
def test_a_wrong_loss_is_one_line(function, message):
    """The line says what the function must return and what it did."""
    with pytest.raises(ValueError, match=message) as error:
        surrogate(function)
    assert "\n" not in str(error.value)


def test_a_detached_loss_that_asks_for_no_exact_sample():
    """The value of the estimate is the mean cost of exact samples; a loss without any is refused."""

    def relaxed(cost, logits):
        return cost(logits.softmax(-1)).mean() + logits.sum()

    own = Categorical(torch.zeros(2, 1, 3, requires_grad=True))
    with pytest.raises(ValueError, match="must ask for the cost of exact samples"):
        surrogate(relaxed, detached=True)(lambda sample: sample("z", own)[0].square().sum((-1, -2)))
