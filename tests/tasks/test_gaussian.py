import math

import pytest
import torch

from estbench import load_estimator, load_task
from estbench.testing.tasks import check_task


@pytest.mark.parametrize("cost", ["quadratic", "exponential"])
def test_it_is_a_task(cost):
    """The data stay the same, the program broadcasts, and a gradient reaches every parameter."""
    check_task(load_task("gaussian", cost=cost))


@pytest.mark.parametrize("cost", ["quadratic", "exponential", "step"])
def test_the_expected_cost_is_the_mean_of_samples(cost):
    """The metric is within 5 standard errors of the mean cost of 40,000 samples: a false alarm in a million runs."""
    torch.manual_seed(0)
    task = load_task("gaussian", cost=cost, units=1, loc=0.3, scale=0.7)
    model = task.model()
    costs = torch.stack(
        [model(torch.zeros(4000, 0))(lambda _, node: (node.sample(), None)) for _ in range(10)]
    ).detach()
    found = task.metrics(model, (torch.zeros(1, 0),))["expected_cost"].item()
    assert abs(found - costs.mean().item()) < 5 * costs.std().item() / math.sqrt(costs.numel())


def test_its_baseline_is_unbiased_for_a_step_and_reparameterisation_is_not():
    """For the step, measure-valued gradients are negative on average for the means, and those of samples are 0."""
    torch.manual_seed(0)
    task = load_task("gaussian", cost="step")
    model = task.model()
    x = torch.zeros(500, 0)
    grads = [
        torch.autograd.grad(load_estimator(name)(model(x)), model.loc)[0]
        for name in ("measure_valued", "reparameterisation")
    ]
    assert (grads[0] < 0).all()
    assert (grads[1] == 0).all()


@pytest.mark.parametrize("options", [{"units": 0}, {"scale": 0.0}, {"cost": "cubic"}])
def test_impossible_options_are_refused(options):
    """The message says what was received."""
    with pytest.raises(ValueError, match="got"):
        load_task("gaussian", **options)
