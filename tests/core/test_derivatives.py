import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from estbench import Bernoulli, load_estimator
from estbench.core.derivatives import derivative


class Subject(nn.Module):
    """Two layers of bits, and an estimator."""

    def __init__(self, name):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Parameter(torch.randn(5, 3, dtype=torch.float64))
        self.second = nn.Linear(3, 2, dtype=torch.float64)
        self.estimator = load_estimator(name)
        self.estimator.prepare(self.program)
        self.estimator.double()
        with torch.no_grad():
            for parameter in self.estimator.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.1)

    def program(self, sample):
        a, log_a = sample("a", Bernoulli(self.first))
        b, log_b = sample("b", Bernoulli(self.second(a)))
        return log_a + log_b + (a.sum(-1) * b.sum(-1)).sin()

    def forward(self):
        return self.estimator(self.program)


@pytest.mark.parametrize("name", ["rebar", "relax", "muprop", "double_cv", "rodeo"])
@pytest.mark.parametrize("training", [True, False])
def test_autograd_and_torch_func_agree(name, training):
    """From the same noise, a plain backward pass and ``torch.func.grad`` give model and estimator the same gradient."""
    subject = Subject(name).train(training)
    parameters = dict(subject.named_parameters())
    torch.manual_seed(1)
    plain = torch.autograd.grad(subject(), list(parameters.values()), allow_unused=True, materialize_grads=True)
    torch.manual_seed(1)
    transformed = grad(lambda own: functional_call(subject, own, ()))(parameters)
    for found, expected in zip(plain, transformed.values(), strict=True):
        torch.testing.assert_close(found, expected)
    tuned = [g.abs().sum() for key, g in transformed.items() if key.startswith("estimator.")]
    assert any(size > 0 for size in tuned) == (training and bool(tuned))


def test_a_frozen_parameter_is_left_alone():
    """An estimator's parameter that takes no gradient gets none, and the others are tuned all the same."""
    subject = Subject("rebar")
    subject.estimator.scale.requires_grad_(requires_grad=False)
    subject().backward()
    assert subject.estimator.scale.grad is None
    assert subject.estimator.log_temperature.grad.abs() > 0


def test_the_derivative_can_be_differentiated_where_gradients_are_enabled():
    """Of w x^3 at 2: 12 w, with derivative 12 by w; none under ``no_grad``; the same under vmap."""
    w, at = torch.tensor(0.5, requires_grad=True), torch.tensor([2.0, 2.0])

    def cubic(x):
        return w * x**3

    slope, value = derivative(cubic, at)
    assert slope.tolist() == [6, 6]
    assert value.tolist() == [4, 4]
    assert torch.autograd.grad(slope.sum(), w)[0] == 24
    with torch.no_grad():
        slope, value = derivative(cubic, at)
        assert vmap(lambda x: derivative(cubic, x)[0])(at).tolist() == slope.tolist() == [6, 6]
    assert not slope.requires_grad
    assert not value.requires_grad


@pytest.mark.parametrize("constant", [torch.ones(2), torch.ones(2, requires_grad=True)])
def test_what_does_not_depend_has_derivative_zero(constant):
    """A cost that is the same everywhere, or that detaches its samples, is no error."""
    slope, value = derivative(lambda x: constant * x.detach(), torch.tensor([1.0, 2.0]))
    assert slope.tolist() == [0, 0]
    assert value.tolist() == [1, 2]
