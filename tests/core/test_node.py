import math

import pytest
import torch
from scipy import stats
from torch.autograd import gradcheck
from torch.func import vmap

from estbench import Bernoulli, Categorical
from estbench.core.node import one_hot

KINDS = [Bernoulli, Categorical]
SHAPES = {Bernoulli: (2, 3), Categorical: (2, 2, 3)}


def node(kind, *, dtype=torch.float64, scale=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return kind(scale * torch.randn(SHAPES[kind], generator=generator, dtype=dtype))


@pytest.mark.parametrize("kind", KINDS)
def test_support_holds_every_joint_value_once_and_its_probabilities_sum_to_one(kind):
    """The probabilities of the support are those of a distribution over distinct values."""
    made = node(kind)
    support = made.enumerate_support()
    assert len(support) == made.cardinality
    assert len(support.flatten(1).unique(dim=0)) == made.cardinality
    torch.testing.assert_close(made.log_prob(support).exp().sum(0), torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize("kind", KINDS)
def test_mean_is_the_expectation_over_the_support(kind):
    """The mean is the sum of values weighted by their probabilities."""
    made = node(kind)
    support = made.enumerate_support()
    weights = made.lift(made.log_prob(support).exp())
    torch.testing.assert_close((weights * support).sum(0), made.mean)


@pytest.mark.parametrize("kind", KINDS)
def test_score_is_the_derivative_of_the_log_probability(kind):
    """Autograd's derivative of log q with respect to the logits is ``score``."""
    made = node(kind)
    value = made.sample()
    logits = made.logits.clone().requires_grad_()
    (found,) = torch.autograd.grad(made.at(logits).log_prob(value).sum(), logits)
    torch.testing.assert_close(found, made.score(value))


@pytest.mark.parametrize("kind", KINDS)
def test_covariance_is_the_jacobian_of_the_mean(kind):
    """At its own mean, ``covariance`` multiplies a direction by the Jacobian of the mean."""
    made = node(kind)
    direction = torch.randn_like(made.logits)
    _, pullback = torch.func.vjp(lambda logits: made.at(logits).mean, made.logits)
    torch.testing.assert_close(made.covariance(made.mean, direction), pullback(direction)[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("draw", ["sample", "noise"])
def test_draws_follow_the_probabilities(kind, draw):
    """Frequencies of 200,000 draws pass a chi-square test at a false-alarm rate of 1e-4."""
    torch.manual_seed(0)
    made = kind(node(kind).logits[0])
    many = made.at(made.logits.expand(200_000, *made.logits.shape))
    values = many.sample() if draw == "sample" else many.discretise(many.noise())
    support = made.enumerate_support()
    counts = (values[:, None] == support).flatten(2).all(-1).sum(0)
    expected = made.log_prob(support).exp() * len(values)
    assert stats.chisquare(counts.numpy(), expected.numpy()).pvalue > 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_noise_given_a_value_discretises_to_it(kind):
    """Conditional noise gives back the value it was conditioned on."""
    torch.manual_seed(0)
    made = node(kind)
    value = made.at(made.logits.expand(1000, *made.logits.shape)).sample()
    torch.testing.assert_close(made.discretise(made.noise_given(value)), value)


@pytest.mark.parametrize("kind", KINDS)
def test_conditional_noise_of_fair_values_is_distributed_as_noise(kind):
    """Noise given a value drawn fairly passes a Kolmogorov-Smirnov test against its law (rate 1e-4 each)."""
    torch.manual_seed(0)
    made = node(kind)
    many = made.at(made.logits.expand(20_000, *made.logits.shape))
    noise = many.noise_given(many.sample()).flatten(1)
    law = stats.logistic if kind is Bernoulli else stats.gumbel_r
    assert min(stats.kstest(column, law.cdf).pvalue for column in noise.T.numpy()) > 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_gap_is_the_difference_of_the_two_reparametrisations(kind):
    """``gap`` agrees with autograd through the conditional noise, its randomness solved to be tied."""
    torch.manual_seed(1)
    made = node(kind)
    noise, direction = made.noise(), torch.randn_like(made.logits)
    z, value = made.logits + noise, made.discretise(noise)
    if kind is Bernoulli:
        sign = 2 * value - 1
        w = (torch.expm1(z.abs())).log() - torch.nn.functional.softplus(sign * made.logits)

        def tied(logits):
            return sign * torch.nn.functional.softplus(w + torch.nn.functional.softplus(sign * logits))
    else:
        top = z.amax(-1, keepdim=True)
        log_top = -top + made.logits.logsumexp(-1, keepdim=True)
        log_rest = torch.where(value > 0, 0.0, torch.log((-z).exp() - (-top).exp())) + made.logits

        def tied(logits):
            level = log_top - logits.logsumexp(-1, keepdim=True)
            return torch.where(value > 0, -level, -torch.logaddexp(log_rest - logits, level))

    conditional, pullback = torch.func.vjp(tied, made.logits)
    torch.testing.assert_close(conditional, z)
    torch.testing.assert_close(made.gap(noise, direction), direction - pullback(direction)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_relaxed_values_tend_to_hard_ones(kind):
    """At a temperature near zero the relaxed value is the hard one."""
    torch.manual_seed(0)
    made = node(kind)
    noise = made.noise()
    torch.testing.assert_close(made.relax(noise, 1e-6), made.discretise(noise))


@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_of_conditional_noise_are_right(kind):
    """Finite differences agree with autograd through the conditional noise at fixed randomness."""
    made = node(kind)
    value = made.sample()

    def conditional(logits):
        torch.manual_seed(3)
        return made.at(logits).noise_given(value)

    assert gradcheck(conditional, made.logits.clone().requires_grad_())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("magnitude", [-60.0, 60.0])
def test_extreme_logits_stay_finite_in_float32(kind, magnitude):
    """At |logit| = 60 every operation has finite values and derivatives in float32."""
    torch.manual_seed(0)
    logits = torch.full(SHAPES[kind], magnitude)
    if kind is Categorical:
        logits[..., 1:] = 0
    logits.requires_grad_()
    made = kind(logits)
    for value in (made.sample(), made.enumerate_support()):
        total = made.log_prob(value).sum() + made.noise_given(value).sum() + made.mean.sum()
        total = total + made.relax(made.noise_given(value), 0.1).sum() + made.score(value).sum()
        total = total + made.gap(made.noise(), value).sum()
        (slope,) = torch.autograd.grad(total, logits)
        assert math.isfinite(total.item())
        assert slope.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_sampling_runs_under_vmap_with_different_randomness(kind):
    """Each replicate under vmap has noise of its own."""
    made = node(kind)
    noise = vmap(lambda _: made.noise(), randomness="different")(torch.empty(8))
    assert len(noise.flatten(1).unique(dim=0)) == 8


def test_one_hot_agrees_with_torch():
    """``one_hot`` equals ``torch.nn.functional.one_hot``."""
    index = torch.arange(6).reshape(2, 3) % 4
    assert torch.equal(one_hot(index, 4, torch.float32), torch.nn.functional.one_hot(index, 4).float())


def test_log_prob_agrees_with_torch_distributions():
    """Log-probabilities equal those of ``torch.distributions``."""
    bits, hot = node(Bernoulli), node(Categorical)
    b, d = bits.sample(), hot.sample()
    expected = torch.distributions.Bernoulli(logits=bits.logits).log_prob(b).sum(-1)
    torch.testing.assert_close(bits.log_prob(b), expected)
    expected = torch.distributions.OneHotCategorical(logits=hot.logits).log_prob(d).sum(-1)
    torch.testing.assert_close(hot.log_prob(d), expected)


@pytest.mark.parametrize(
    ("kind", "logits", "error", "message"),
    [
        (Bernoulli, torch.zeros(3, dtype=torch.int64), TypeError, "got torch.int64"),
        (Bernoulli, [0.0], TypeError, "got list"),
        (Categorical, torch.zeros(3), ValueError, r"\(\*batch, units, classes\); got \(3,\)"),
    ],
)
def test_wrong_logits_are_refused_with_what_was_received(kind, logits, error, message):
    """A node takes floating-point logits of at least its event's dimensions."""
    with pytest.raises(error, match=message):
        kind(logits)


def test_context_is_what_was_given_or_else_the_logits():
    """A baseline looks at ``given`` where there is one, never with a gradient."""
    given = torch.ones(2, 5, requires_grad=True)
    logits = torch.zeros(2, 2, 3, requires_grad=True)
    assert torch.equal(Categorical(logits, given).context, given)
    assert Categorical(logits).context.shape == (2, 6)
    assert not Categorical(logits, given).context.requires_grad


def test_names_of_version_0_1_still_work():
    """A plugin that calls a method of a node by its name of version 0.1 gets the method, and a warning."""
    node = Bernoulli(torch.zeros(3))
    with pytest.warns(DeprecationWarning, match="enumerate_support"):
        assert torch.equal(node.support(), node.enumerate_support())
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = node.nothing_like_it
