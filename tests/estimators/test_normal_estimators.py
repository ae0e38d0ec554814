"""Estimators of normal variables on small problems whose expectations have a closed form, and against other code."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.func import grad, vmap

from estbench import Bernoulli, Normal, NotApplicableError, load_estimator
from estbench.plugins.registry import discover
from tests.support.gradients import assert_unbiased

PARAMETERS = torch.tensor([0.3, -0.5, 0.8, 1.3], dtype=torch.float64)
WEIGHTS = torch.tensor([0.3, -0.2], dtype=torch.float64)
SCORES = ["reinforce", "reinforce_moving_average", "nvil[hidden=8]", "rloo", "vargrad", "remax", "muprop"]
OWN = ["reparameterisation", "measure_valued", "lax[hidden=8]"]


def cost(z):
    return (z @ WEIGHTS).exp() + z[..., 0] * z[..., 1] + z[..., 0] ** 3


def closed(parameters):
    """The expected cost: Gaussian integrals of an exponential and of polynomials."""
    m, s = parameters[:2], parameters[2:]
    return (WEIGHTS @ m + (WEIGHTS * s).square().sum() / 2).exp() + m[0] * m[1] + m[0] ** 3 + 3 * m[0] * s[0] ** 2


def gradient(estimator, function, parameters=PARAMETERS):
    def program(parameters):
        return lambda sample: function(sample("z", Normal(parameters[:2], parameters[2:]))[0])

    return grad(lambda parameters: estimator(program(parameters)))(parameters)


def replicates(name, function, number=8192):
    torch.manual_seed(0)
    estimator = load_estimator(name).double()
    estimator.prepare(lambda sample: function(sample("z", Normal(PARAMETERS[:2], PARAMETERS[2:]))[0])).eval()
    for parameter in estimator.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return vmap(lambda _: gradient(estimator, function), randomness="different")(torch.zeros(number))


@pytest.mark.parametrize("name", [*SCORES, *OWN])
def test_means_and_scales_get_the_gradient_of_the_closed_form(name):
    """The mean of 8,192 gradients is that of the closed form; each test has a false alarm in a million runs."""
    assert_unbiased(replicates(name, cost), grad(closed)(PARAMETERS))


@pytest.mark.parametrize("name", ["rloo", "measure_valued", "lax[hidden=8]"])
def test_without_derivative_of_the_cost_jumps_are_no_obstacle(name):
    """For P(z < 0.2), a step, the mean gradient is minus a normal density; a false alarm in a million runs."""

    def step(z):
        return (z < 0.2).double().sum(-1)

    def chance(parameters):
        return torch.special.ndtr((0.2 - parameters[:2]) / parameters[2:]).sum()

    assert_unbiased(replicates(name, step), grad(chance)(PARAMETERS))


def test_reparameterisation_misses_a_jump():
    """Where the cost is a step, its gradient is 0 in every sample, whatever the true one."""
    assert (replicates("reparameterisation", lambda z: (z < 0.2).double().sum(-1) + 0 * z.sum(-1), 8) == 0).all()


def test_reparameterisation_is_that_of_torch():
    """With the same noise, value and gradient are those of torch's ``rsample``."""
    made = [PARAMETERS.expand(100, 4).clone().requires_grad_() for _ in range(2)]
    torch.manual_seed(0)
    mine = load_estimator("reparameterisation")(lambda sample: cost(sample("z", Normal(*made[0].chunk(2, -1)))[0]))
    torch.manual_seed(0)
    theirs = cost(torch.distributions.Normal(*made[1].chunk(2, -1)).rsample()).mean()
    torch.testing.assert_close(mine, theirs)
    found = [torch.autograd.grad(value, own)[0] for value, own in zip((mine, theirs), made, strict=True)]
    torch.testing.assert_close(*found)


def test_measure_valued_has_the_moments_of_its_authors_code():
    """Means and variances are those of the formula of deepmind/mc_gradients, in numpy, with the pairs of scipy.

    Tests at 5.5 standard errors of eight coordinates: a false alarm in 3 million runs.
    """
    rng = np.random.default_rng(0)
    loc, scale = PARAMETERS[:2].numpy(), PARAMETERS[2:].numpy()
    size = (40_000, 2)
    z = rng.normal(loc, scale, size)
    weibull = stats.weibull_min.rvs(2, scale=math.sqrt(2), size=size, random_state=rng)
    maxwell = stats.maxwell.rvs(size=size, random_state=rng) * rng.choice([-1, 1], size)
    normal = maxwell * rng.random(size)

    def at(unit, standard):
        changed = z.copy()
        changed[:, unit] = loc[unit] + scale[unit] * standard[:, unit]
        return cost(torch.from_numpy(changed)).numpy()

    by_loc = [(at(i, weibull) - at(i, -weibull)) / (math.sqrt(2 * math.pi) * scale[i]) for i in range(2)]
    theirs = torch.from_numpy(np.stack([*by_loc, *((at(i, maxwell) - at(i, normal)) / scale[i] for i in range(2))], 1))
    mine = replicates("measure_valued", cost)
    for one, two in ((mine, theirs), *[((x - x.mean(0)).square() for x in (mine, theirs))]):
        spread = (one.var(0) / len(one) + two.var(0) / len(two)).sqrt()
        assert ((one.mean(0) - two.mean(0)).abs() < 5.5 * spread).all()


def test_the_pairs_are_those_of_the_derivatives_of_the_density():
    """The standard normal density's derivatives are the differences of the densities of both pairs, times constants."""
    x = np.linspace(-4, 4, 101)
    weibull = stats.weibull_min(2, scale=math.sqrt(2))
    by_loc = x * stats.norm.pdf(x)
    np.testing.assert_allclose((weibull.pdf(x) - weibull.pdf(-x)) / math.sqrt(2 * math.pi), by_loc, atol=1e-12)
    by_scale = (x**2 - 1) * stats.norm.pdf(x)
    np.testing.assert_allclose(stats.maxwell.pdf(abs(x)) / 2 - stats.norm.pdf(x), by_scale, atol=1e-12)


@pytest.mark.parametrize("name", ["rloo", "nvil[hidden=8]", "muprop", "reinforce"])
def test_a_program_may_mix_normal_variables_and_bits(name):
    """Bits whose logits are a normal vector: the mean gradient is that of a quadrature; a false alarm in a million."""
    place, weight = (torch.from_numpy(v) for v in np.polynomial.hermite_e.hermegauss(40))
    table = torch.tensor([1.0, -0.5], dtype=torch.float64)

    def program(parameters):
        def run(sample):
            z, log_q = sample("z", Normal(parameters[:2], parameters[2:]))
            b, log_b = sample("b", Bernoulli(z))
            return (b @ table - z[..., 0]).square() + (log_q + log_b) / 3

        return run

    def expected(parameters):
        (m0, m1), (s0, s1) = parameters[:2], parameters[2:]
        z = torch.cartesian_prod(m0 + s0 * place, m1 + s1 * place)
        total = 0.0
        for b in torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 2):
            q = Bernoulli(z).log_prob(b.expand_as(z)).exp()
            total = total + q * ((b @ table - z[:, 0]).square() + q.log() / 3)
        chance = torch.cartesian_prod(weight, weight).prod(1) / (2 * math.pi)
        return (chance * total).sum() - Normal(parameters[:2], parameters[2:]).entropy() / 3

    torch.manual_seed(0)
    estimator = load_estimator(name).double().prepare(program(PARAMETERS)).eval()
    found = vmap(lambda _: grad(lambda p: estimator(program(p)))(PARAMETERS), randomness="different")
    assert_unbiased(found(torch.zeros(8192)), grad(expected)(PARAMETERS))


def test_all_others_refuse_normal_variables_in_one_line():
    """What does not declare that it accepts normal nodes says so by its class and the node's name, on one line."""
    for name, plugin in discover("estimator").plugins.items():
        if Normal in plugin.load().accepts:
            continue
        with pytest.raises(NotApplicableError, match=r"^\w+ takes .* nodes; 'z' is Normal$"):
            load_estimator(name).prepare(lambda sample: sample("z", Normal(torch.zeros(2), 1.0))[0].sum(-1))
