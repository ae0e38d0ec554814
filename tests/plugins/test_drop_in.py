"""Estimators in one line: value and gradient are those of the estimator itself."""

from functools import partial

import pytest
import torch

from estbench import Bernoulli, Categorical, Normal, Pathwise, Subset, discover, expectation, load_estimator, rsample
from estbench.errors import UserError

PATHWISE = [
    name
    for name, plugin in discover("estimator").plugins.items()
    if plugin.origin == "built-in" and issubclass(plugin.load(), Pathwise)
]
OTHERS = ("reinforce", "rloo", "disarm", "arm", "carms", "local_expectation", "exact", "sum_and_sample", "spsa")
COSTS = torch.tensor([0.2, -1.0, 0.7])


def logits(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).requires_grad_()


def of_bits(z):
    return (z @ COSTS - 0.3).square()


def of_classes(z):
    return (z @ COSTS - 0.3).square().sum(-1)


COST = {Bernoulli: of_bits, Categorical: of_classes}


def by_the_estimator(estimator, node, function):
    """Value and gradient by the estimator's own road."""
    torch.manual_seed(1)
    value = estimator(lambda sample: function(sample("z", node)[0]))
    return value, *torch.autograd.grad(value, node.logits)


@pytest.mark.parametrize("name", PATHWISE)
@pytest.mark.parametrize("kind", [Bernoulli, Categorical])
def test_a_sample_has_the_value_and_the_gradient_of_its_estimator(name, kind):
    """With the same seed the mean cost of a sample and its gradient are those of the estimator, to the last bit."""
    own = logits(4, 2, 3) if kind is Categorical else logits(4, 3)
    if not issubclass(kind, load_estimator(name).accepts):
        with pytest.raises(ValueError, match=f"nodes; got {kind.__name__}"):
            rsample(own, name, event_dim=int(kind is Categorical))
        return
    value, gradient = by_the_estimator(load_estimator(name), kind(own), COST[kind])
    torch.manual_seed(1)
    drawn = rsample(own, name, event_dim=int(kind is Categorical))
    assert drawn.shape == own.shape
    mean = COST[kind](drawn).mean()
    assert torch.equal(mean, value)
    torch.testing.assert_close(torch.autograd.grad(mean, own)[0], gradient)
    torch.manual_seed(1)
    assert torch.equal(rsample(kind(own), name), drawn)


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("kind", [Bernoulli, Categorical])
def test_a_surrogate_loss_has_the_value_and_the_gradient_of_its_estimator(name, kind):
    """With the same seed it is the estimator's own scalar, with its gradient; what it does not take is refused."""
    own = logits(4, 2, 3) if kind is Categorical else logits(4, 3)
    if not issubclass(kind, load_estimator(name).accepts):
        with pytest.raises(ValueError, match="takes"):
            expectation(kind(own), COST[kind], name)
        return
    value, gradient = by_the_estimator(load_estimator(name), kind(own), COST[kind])
    torch.manual_seed(1)
    loss = expectation(kind(own), COST[kind], name)
    assert torch.equal(loss, value)
    torch.testing.assert_close(torch.autograd.grad(loss, own)[0], gradient)


@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 4, 3)])
@pytest.mark.parametrize("hard", [False, True])
def test_gumbel_softmax_of_torch_is_replaced_in_one_line(shape, hard):
    """Over 20,000 samples the mean and the mean gradient are those of torch's function: max |z| below 4.5."""
    own, weights = logits(*shape), torch.linspace(-1, 1, 3)
    name = "st_gumbel_softmax" if hard else "gumbel_softmax"
    many = own.detach().expand(20000, *shape).clone()
    found = []
    for draw in (
        lambda x: rsample(x, name, temperature=0.7),
        lambda x: torch.nn.functional.gumbel_softmax(x, 0.7, hard),
    ):
        each = many.clone().requires_grad_()
        sample = draw(each)
        (sample * weights).sum(-1).square().sum().backward()
        found.append(torch.cat([sample.detach(), each.grad], -1))
    error = found[0].mean(0) - found[1].mean(0)
    assert (error / ((found[0].var(0) + found[1].var(0)) / 20000 + 1e-12).sqrt()).abs().max() < 4.5


def test_samples_are_vectorised():
    """Under ``torch.func.vmap`` each replicate has a sample of its own, and the gradient passes."""
    own = logits(4, 3)

    def loss(x):
        return rsample(x, "reinmax", temperature=1.2).square().sum() + expectation(
            Bernoulli(x), lambda z: z @ COSTS, "rloo"
        )

    found = torch.func.vmap(lambda _: torch.func.grad(loss)(own.detach()), randomness="different")(torch.zeros(50))
    assert found.shape == (50, 4, 3)
    assert len(found.unique(dim=0)) > 40


# torch.compile looks at attributes of tensors where it continues after what it cannot trace
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.parametrize("name", ["gumbel_softmax", "reinmax", "straight_through"])
def test_samples_run_compiled(name):
    """``torch.compile`` with the eager backend gives the same sample and gradient as without."""
    own = logits(4, 3)

    def loss(x):
        return of_bits(rsample(x, name)).sum()

    found = []
    for function in (loss, torch.compile(loss, backend="eager")):
        torch.manual_seed(2)
        found.append(torch.autograd.grad(function(own), own)[0])
    torch.testing.assert_close(*found)


def test_logits_of_half_precision_have_gradients_of_half_precision():
    """Under autocast the gradient reaches the layer that made the logits, whose samples are still one-hot."""
    layer, x = torch.nn.Linear(5, 3), torch.randn(8, 5)
    with torch.autocast("cpu", torch.bfloat16):
        sample = rsample(layer(x), "st_gumbel_softmax")
        loss = (sample.float() @ COSTS).mean() + expectation(Categorical(layer(x)[:, None]), lambda z: z[..., 0, 0])
    assert set(sample.unique().tolist()) == {0.0, 1.0}
    loss.backward()
    assert layer.weight.grad.isfinite().all()
    assert layer.weight.grad.abs().max() > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", PATHWISE)
def test_a_sample_has_the_dtype_of_the_logits(name, dtype):
    """As that of ``torch.nn.functional.gumbel_softmax``, so that the next layer takes it; hard samples are exact."""
    own = logits(4, 3).detach().to(dtype).requires_grad_()
    kind = load_estimator(name).accepts[0]
    ways = {
        Subset: partial(Subset, k=2),
        Categorical: lambda own: Categorical(own[:, None]),
        Normal: partial(Normal, scale=1),
    }
    sample = rsample(ways.get(kind, kind)(own), name)
    assert sample.dtype == torch.nn.functional.gumbel_softmax(own).dtype == dtype
    assert torch.autograd.grad(sample.square().sum(), own)[0].dtype == dtype
    if load_estimator(name).hard and kind is not Normal:
        assert set(sample.unique().tolist()) <= {0.0, 1.0}


def test_what_cannot_be_is_one_clear_error():
    """An estimator without samples, one that learns, an unknown name, and options of a made one are refused."""
    own = logits(4, 3)
    with pytest.raises(TypeError, match="RLOO has none: its surrogate loss is"):
        rsample(own, "rloo")
    with pytest.raises(ValueError, match="nvil learns from step to step"):
        expectation(Bernoulli(own), lambda z: z.sum(-1), "nvil")
    with pytest.raises(UserError, match="did you mean 'reinmax'"):
        rsample(own, "renmax")
    with pytest.raises(ValueError, match=r"event_dim is 1 .* got 2"):
        rsample(own, event_dim=2)
    with pytest.raises(TypeError, match="takes logits as a tensor, or a node; got list"):
        rsample([0.0, 1.0])
    with pytest.raises(TypeError, match=r"takes a node, such as Bernoulli\(logits\); got Tensor"):
        expectation(own, lambda z: z.sum(-1))
    with pytest.raises(ValueError, match="RODEO takes Bernoulli nodes; got Categorical"):
        expectation(Categorical(own), lambda z: z.sum((-1, -2)), "rodeo")
    with pytest.raises(ValueError, match="got temperature"):
        rsample(own, load_estimator("reinmax"), temperature=2)


def test_an_estimator_that_was_made_once_is_trained():
    """One with parameters is passed as it is, and its parameters get gradients."""
    own = logits(4, 3)
    nvil = load_estimator("nvil")
    nvil.prepare(lambda sample: sample("z", Bernoulli(own))[0].sum(-1))
    expectation(Bernoulli(own), lambda z: z.sum(-1), nvil).backward()
    assert all(parameter.grad is not None for parameter in nvil.parameters())
