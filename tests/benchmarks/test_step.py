import pytest
import torch

from benchmarks import sequence, step
from benchmarks._by_hand import LOSSES, VAE
from estbench import load_estimator, load_task


def gradients(make, name, seed):
    """Of model and estimator, in double precision."""
    torch.manual_seed(0)
    x = step.images(7, 12).double()
    model = VAE(12, 5).double()
    with torch.no_grad():
        model.prior.copy_(torch.randn(5))
    loss, own = make(name, model, x)
    for parameter in own:
        parameter.data = parameter.data.double()
    torch.manual_seed(seed)
    loss().backward()
    return [parameter.grad for parameter in (*model.parameters(), *own)]


@pytest.mark.parametrize("name", LOSSES)
def test_the_step_by_hand_has_the_same_gradient(name):
    """From the same noise, the loss written by hand gives every parameter the gradient that estbench gives it."""
    found, expected = gradients(step.through_estbench, name, 1), gradients(step.by_hand, name, 1)
    assert len(found) == len(expected)
    for ours, hand in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, hand)
    # and other noise another one
    assert not torch.allclose(gradients(step.by_hand, name, 2)[0], expected[0])


def test_the_comparison_gives_positive_figures():
    """A ratio within its interval, a time, and the least time of the matrix products."""
    ratio, low, high, took, least = step.compare("rloo", 6, 1e-4)
    assert 0 < low <= ratio <= high
    assert took > 0
    assert least > 0


def test_the_sequence_step_by_hand_has_the_exact_gradient_on_average():
    """The mean of 60 gradients from 50 groups a prompt is within 5 standard errors of the enumerated one."""
    torch.manual_seed(0)
    task = load_task("sequence_policy[hidden=4,modulus=3]")
    model, (prompts,) = task.model(), task.splits().train
    weights = list(model.parameters())
    exact = torch.autograd.grad(load_estimator("exact")(model(prompts)), weights)
    numbers = prompts.argmax(-1).repeat(50)
    found = [torch.autograd.grad(sequence.by_hand(model, numbers, 3), weights) for _ in range(60)]
    for each, true in zip(zip(*found, strict=True), exact, strict=True):
        g = torch.stack(each)
        assert ((g.mean(0) - true).abs() <= 5 * g.std(0) / 60**0.5).all()
