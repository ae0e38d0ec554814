"""Slopes of costs with respect to log-probabilities: which count, and that estimators weight the score by them."""

import pytest
import torch
from torch.func import grad, vmap

from estbench import Bernoulli, load_estimator
from estbench.core.program import draw, evaluate, repeat
from tests.support.gradients import LOGITS, FixedBits, exact

CONSTANT = {
    "plus": lambda log_q, z: log_q - z.sum(-1),
    "minus": lambda log_q, z: -(z.sum(-1) - log_q),
    "times a number": lambda log_q, z: z.sum(-1) + 0.3 * log_q / 2,
    "times a scalar tensor": lambda log_q, z: torch.tensor(0.3) * (log_q - z.sum(-1)),
    "twice": lambda log_q, z: log_q + z.sum(-1) + 2 * log_q,
    "reshaped": lambda log_q, z: torch.stack([log_q, z.sum(-1)], -1).sum(-1),
    "constant in place": lambda log_q, z: log_q.add_(z.sum(-1)),
    "not at all": lambda log_q, z: z.sum(-1) + log_q.detach() ** 2,
}
VARYING = {
    "clamped": lambda log_q, z: log_q.clamp_min(-1) + z.sum(-1),
    "squared": lambda log_q, z: log_q**2 + log_q + z.sum(-1),
    "times the sample": lambda log_q, z: log_q * z[..., 0],
    "times what the sample decides": lambda log_q, z: log_q * (z.sum(-1) > 1),
    "chosen": lambda log_q, z: torch.where(z[..., 0] > 0.5, log_q, z.sum(-1)),
    "a divisor": lambda log_q, z: z.sum(-1) / (log_q - 1),
    "a ratio": lambda log_q, z: (log_q - log_q.detach()).exp() * z.sum(-1),
    "changed in place": lambda log_q, z: log_q.mul_(z[..., 0]),
}


def found(cost, samples, logits):
    """Whether the cost has a slope that counts."""
    node = Bernoulli(logits)
    sampler = repeat(draw, samples) if samples else draw
    evaluation = evaluate(lambda sample: cost(*sample("z", node)[::-1]), sampler)
    return bool(evaluation.slopes())


@pytest.mark.parametrize("samples", [0, 1, 2])
@pytest.mark.parametrize("cost", [*CONSTANT, *VARYING])
def test_slopes_count_where_they_may_vary(cost, samples):
    """A factor of log q that no sample changes is left out; all others count, whatever values they happen to have."""
    program = {**CONSTANT, **VARYING}[cost]
    assert found(program, samples, torch.zeros(4, 3, requires_grad=True)) == (cost in VARYING)
    seen = []

    def mapped(logits):
        seen.append(found(program, samples, logits))
        return logits.sum()

    vmap(lambda _: grad(mapped)(torch.zeros(4, 3)), randomness="different")(torch.zeros(2))
    assert seen == [cost in VARYING]


def test_weights_of_examples_are_constants_where_samples_have_a_dimension_of_their_own():
    """A factor per example cannot depend on samples where these have a dimension; where they have none, it might."""
    weights = torch.tensor([0.0, 1.0, 1.0, 0.5])
    logits = torch.zeros(4, 3, requires_grad=True)
    assert not found(lambda log_q, _: log_q * weights, 2, logits)
    assert found(lambda log_q, _: log_q * weights, 0, logits)


def two_layers(first, second, cost):
    """Bits given bits."""

    def program(sample):
        a, log_a = sample("a", Bernoulli(first))
        b, log_b = sample("b", Bernoulli(a @ second))
        return cost((a.sum(-1) - 1.3 * b[..., 0] + b[..., 1] * a[..., 0]) ** 2, log_a, log_b)

    return program


FIRST = torch.tensor([[0.4, -0.8], [1.0, 0.1]], dtype=torch.float64)
SECOND = torch.tensor([[0.3, 1.1], [-0.7, 0.2]], dtype=torch.float64)
SCORING = (
    *("reinforce", "rloo[samples=3]", "nvil", "arm", "disarm", "arms", "sum_and_sample", "unordered_set"),
    *("rao_blackwell", "augmented_reinforce", "spsa", "local_expectation", "stochastic_ad"),
)


@pytest.mark.parametrize("name", SCORING)
def test_a_constant_slope_adds_no_noise(name):
    """The gradient of an ELBO is, number by number, the one with log q cut off from the logits."""

    def gradient(cost):
        program = two_layers(first := FIRST.clone().requires_grad_(), second := SECOND.clone().requires_grad_(), cost)
        torch.manual_seed(0)
        estimator = load_estimator(name).double().prepare(program)
        estimator(program).backward()
        return torch.cat([first.grad.flatten(), second.grad.flatten()])

    whole = gradient(lambda value, one, other: -(value - 0.7 * one - other))
    cut = gradient(lambda value, one, other: -(value - 0.7 * one.detach() - other.detach()))
    torch.testing.assert_close(whole, cut, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["unordered_set[samples=4]", "sum_and_sample[samples=4]", "rao_blackwell[summed=3]"])
def test_all_values_are_exact_where_the_slope_varies(name):
    """Estimators that take all values of two layers are exact, whatever log q does in the cost."""

    def gradient(name):
        program = two_layers(
            first := FIRST.clone().requires_grad_(),
            second := SECOND.clone().requires_grad_(),
            lambda value, one, other: value + 0.3 * (one + other) ** 2 + value * one + other.clamp_min(-0.9),
        )
        load_estimator(name)(program).backward()
        return torch.cat([first.grad.flatten(), second.grad.flatten()])

    torch.testing.assert_close(gradient(name), gradient("exact"))


@pytest.mark.parametrize("name", ["reinforce", "muprop", "local_expectation", "vargrad"])
def test_the_expected_gradient_is_that_by_enumeration(name):
    """Averaged over all values, or pairs of values, the gradient is exact for costs with any function of log q."""
    node, support = Bernoulli(LOGITS["bits"]), Bernoulli(LOGITS["bits"]).enumerate_support()
    pairs = name == "vargrad"
    values = torch.cartesian_prod(torch.arange(8), torch.arange(8)) if pairs else torch.arange(8)[:, None]
    estimator = load_estimator(name)

    def program(kind, logits, **given):
        def run(sample):
            value, log_q = sample("z", kind(logits, **given))
            return (value.sum(-1) - 0.4) ** 2 * log_q + log_q.clamp_min(-2).exp()

        return run

    total = 0.0
    for index in values:
        drawn = support[index] if pairs or name == "reinforce" else support[index[0]]
        one = grad(lambda logits, drawn=drawn: estimator(program(FixedBits, logits, value=drawn)))(node.logits)
        total = total + node.log_prob(support[index]).sum().exp() * one
    truth = grad(lambda logits: load_estimator("exact")(program(Bernoulli, logits)))(node.logits)
    torch.testing.assert_close(total, truth)
    assert not torch.allclose(truth, exact("bits"))


def test_a_straight_through_estimator_gains_the_score():
    """A slope that varies adds the score, weighted by the slope, to the derivative through the sample."""
    logits, drawn = LOGITS["bits"][None].clone().requires_grad_(), []

    def program(sample):
        value, log_q = sample("z", Bernoulli(logits))
        drawn.append(value.detach())
        return log_q.square()

    torch.manual_seed(0)
    load_estimator("straight_through")(program).backward()
    node = Bernoulli(logits.detach())
    slope = node.lift(2 * node.log_prob(drawn[0]))
    # log q is linear in the bits, with the logits as derivative
    through = node.covariance(node.mean, slope * node.logits)
    torch.testing.assert_close(logits.grad, through + slope * node.score(drawn[0]))
