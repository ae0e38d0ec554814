"""The normal node against torch's distribution and closed forms."""

import math

import pytest
import torch
from scipy import stats

from estbench import Normal, load_estimator

LOC = torch.tensor([[0.3, -0.5, 1.1], [2.0, 0.0, -1.0]], dtype=torch.float64)
SCALE = torch.tensor([[0.8, 1.3, 0.2], [1.0, 3.0, 0.5]], dtype=torch.float64)


def test_log_density_and_entropy_are_those_of_torch_summed_over_units():
    """Log-density and entropy of a vector are the sums of torch's."""
    node, theirs = Normal(LOC, SCALE), torch.distributions.Normal(LOC, SCALE)
    value = node.sample()
    torch.testing.assert_close(node.log_prob(value), theirs.log_prob(value).sum(-1))
    torch.testing.assert_close(node.entropy(), theirs.entropy().sum(-1))


def test_score_and_slopes_are_derivatives():
    """``score``, ``mean_slope`` and ``noise_slope`` are what autograd gives, in the shape of the parameters."""
    node = Normal(LOC, SCALE)
    noise, direction = node.noise(), torch.randn_like(LOC)
    value, parameters = node.discretise(noise), node.logits.clone().requires_grad_()
    made = node.at(parameters)
    for scalar, wanted in (
        (made.log_prob(value).sum(), node.score(value)),
        ((made.mean * direction).sum(), node.mean_slope(direction)),
        ((made.reparametrised(noise) * direction).sum(), node.noise_slope(noise, direction)),
    ):
        (found,) = torch.autograd.grad(scalar, parameters, retain_graph=True)
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_samples_follow_the_distribution(dtype):
    """Kolmogorov-Smirnov tests of 20,000 samples of each unit; a false alarm in 100,000 runs each.

    With parameters of half precision the noise is of float32, so that hardly any two samples are equal.
    """
    torch.manual_seed(0)
    loc, scale = LOC[0].to(dtype), SCALE[0].to(dtype)
    drawn = Normal(loc.expand(20_000, 3), scale).sample()
    assert drawn.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    for unit in range(3):
        law = stats.norm(loc[unit].item(), scale[unit].item())
        assert stats.kstest(drawn[:, unit].numpy(), law.cdf).pvalue > 1e-5
        # in bfloat16 there are a few hundred numbers where the samples are
        assert len(drawn[:, unit].unique()) > 15_000


def test_a_program_gets_samples_in_the_dtype_of_the_parameters_and_log_q_in_float32():
    """With bfloat16 parameters the sample is of bfloat16 and log q of float32; gradients come back in bfloat16."""
    loc = LOC.bfloat16().requires_grad_()
    seen = []

    def program(sample):
        z, log_q = sample("z", Normal(loc, 0.5))
        seen.extend([z.dtype, log_q.dtype])
        return z.float().square().sum(-1) + log_q

    (found,) = torch.autograd.grad(load_estimator("reparameterisation")(program), loc)
    assert seen == [torch.bfloat16, torch.float32]
    assert found.dtype == torch.bfloat16


@pytest.mark.parametrize("scale", [1e-30, 1e-4, 1e4, 1e18])
def test_extreme_scales_give_finite_numbers_in_float32(scale):
    """Log-density, score and a reparameterised gradient are finite for scales from 1e-30 to 1e18."""
    node = Normal(torch.tensor([60.0, -60.0, 0.0]), scale)
    value = node.sample()
    assert node.log_prob(value).isfinite()
    assert node.score(value).isfinite().all()
    assert node.entropy().isfinite()


def test_scales_broadcast_and_may_be_numbers():
    """A number, a scale per unit and one per example give the same density as the expanded tensor."""
    value = torch.zeros(2, 3, dtype=torch.float64)
    for scale in (0.7, torch.tensor([0.7, 0.7, 0.7]), torch.full((2, 1), 0.7)):
        node = Normal(LOC, scale if isinstance(scale, float) else scale.double())
        assert node.event_shape == (3,)
        assert node.batch_ndim == 1
        wanted = torch.distributions.Normal(LOC, 0.7).log_prob(value).sum(-1)
        torch.testing.assert_close(node.log_prob(value), wanted)


@pytest.mark.parametrize(
    ("loc", "scale", "error", "message"),
    [
        (torch.zeros(2), 0.0, ValueError, r"must be above 0; got 0 in torch.float32"),
        (torch.zeros(2), torch.tensor([1.0, -0.5]), ValueError, r"must be above 0; got -0.5"),
        (torch.zeros(2).half(), torch.tensor(1e-9).half(), ValueError, r"must be above 0; got 0 in torch.float16"),
        (torch.zeros(2, dtype=torch.long), 1.0, TypeError, r"got torch.int64 of shape \(2,\)"),
        (0.5, 1.0, TypeError, "got float"),
        (torch.tensor(0.0), 1.0, TypeError, r"got torch.float32 of shape \(\)"),
        (torch.zeros(2), "1", TypeError, "got str"),
    ],
)
def test_impossible_parameters_are_refused_in_one_line(loc, scale, error, message):
    """The message says what is wrong and what was received."""
    with pytest.raises(error, match=message) as caught:
        Normal(loc, scale)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_prepare_refuses_parameters_that_are_not_finite(bad):
    """A node with NaN is made, since training may diverge, and refused by ``prepare``."""
    with pytest.raises(ValueError, match="locations and scales are finite; those of 'z' hold"):
        load_estimator("rloo").prepare(lambda sample: sample("z", Normal(torch.tensor([bad, 0.0]), 1.0))[0].sum(-1))
