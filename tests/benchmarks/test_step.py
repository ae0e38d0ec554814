import pytest
import torch

from benchmarks import step
from benchmarks._by_hand import LOSSES, VAE


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
