"""Logits as models give them: of half precision, masked, or no numbers."""

import pytest
import torch
from torch.func import grad, vmap

from estbench import Bernoulli, Categorical, load_estimator
from estbench.core import logits as limits
from estbench.core.noise import NoiseSource, drawn_from
from estbench.core.one_hot import draw_in_proportion

INF = float("inf")
HALVES = [torch.bfloat16, torch.float16]
FILLS = {dtype: [-INF, -1e9, torch.finfo(dtype).min] for dtype in (torch.float32, torch.float64, torch.bfloat16)}
FILLS[torch.float16] = [-INF, -1e4, torch.finfo(torch.float16).min]
CASES = [(dtype, fill) for dtype, fills in FILLS.items() for fill in fills]


def masked(dtype, fill):
    """Two variables of four classes; of the first the last is masked, of the second the first."""
    logits = torch.tensor([[0.5, -1.0, 2.0, fill], [fill, 0.0, 1.5, -0.5]], dtype=dtype)
    return logits.requires_grad_()


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("kind", [Bernoulli, Categorical])
def test_half_precision_logits_are_drawn_from_as_the_same_numbers_in_float32(kind, dtype):
    """With one seed, logits of half precision give the values, noise and probabilities of their float32 copies."""
    half = (3 * torch.randn(50, 4, generator=torch.Generator().manual_seed(0))).to(dtype)
    found = []
    for logits in (half, half.float()):
        torch.manual_seed(1)
        node = kind(logits)
        value = node.sample()
        found.append((value, node.noise(), node.noise_given(value), node.mean, node.log_prob(value)))
    for one, other in zip(*found, strict=True):
        assert one.dtype == torch.float32
        assert one.equal(other)


@pytest.mark.parametrize("dtype", HALVES)
def test_rare_and_many_values_are_drawn_at_their_rates_from_half_precision(dtype):
    """Bits of probability 0.0009 come at that rate, and each of 300 equal classes comes (rates of false alarm 1e-6)."""
    torch.manual_seed(0)
    bits = Bernoulli(torch.full((2_000_000, 1), -7.0, dtype=dtype)).sample()
    p = torch.tensor(-7.0).sigmoid().item()
    assert abs(bits.mean().item() - p) < 4.9 * (p / len(bits)) ** 0.5
    classes = Categorical(torch.zeros(10_000, 1, 300, dtype=dtype)).sample()
    assert (classes.sum((0, 1)) > 0).all()


@pytest.mark.parametrize("dtype", HALVES)
def test_gradients_flow_back_in_the_dtype_of_the_logits(dtype):
    """The derivative of a log-probability with respect to half-precision logits has their dtype."""
    logits = torch.zeros(3, 2, dtype=dtype, requires_grad=True)
    Bernoulli(logits).log_prob(torch.ones(3, 2)).sum().backward()
    assert logits.grad.dtype == dtype
    torch.testing.assert_close(logits.grad, torch.full_like(logits, 0.5))


def test_nodes_of_float32_keep_the_tensor_that_they_were_given():
    """Ordinary logits are neither copied nor put through any operation."""
    logits = torch.randn(2, 3, requires_grad=True)
    assert Bernoulli(logits).logits is logits
    assert Categorical(logits).logits is logits


@pytest.mark.parametrize(("dtype", "fill"), CASES)
def test_masked_classes_have_probability_zero_and_leave_the_others_alone(dtype, fill):
    """Probabilities and log-probabilities are those of a softmax over the classes that are allowed."""
    logits = masked(dtype, fill)
    node = Categorical(logits)
    free = torch.tensor([[True, True, True, False], [False, True, True, True]])
    allowed = logits.detach().to(node.mean.dtype)[free].reshape(2, 3)
    assert (node.mean[~free] == 0).all()
    torch.testing.assert_close(node.mean[free].reshape(2, 3), allowed.softmax(-1))
    value = torch.eye(4, dtype=node.mean.dtype)[[2, 1]]
    expected = allowed.log_softmax(-1)[[0, 1], [2, 0]].sum()
    torch.testing.assert_close(node.log_prob(value), expected)
    entropy = -(node.log_prob(node.enumerate_support()).exp() * node.log_prob(node.enumerate_support())).sum()
    torch.testing.assert_close(entropy, -(allowed.softmax(-1) * allowed.log_softmax(-1)).sum())


@pytest.mark.parametrize(("dtype", "fill"), CASES)
def test_no_operation_gives_masked_classes_a_gradient_or_a_value(dtype, fill):
    """Samples and relaxed values are 0 at masked classes, and gradients of all operations exactly 0 and finite."""
    torch.manual_seed(0)
    logits = masked(dtype, fill)
    expanded = Categorical(logits.expand(500, 2, 4))
    noise = expanded.noise()
    value = expanded.sample()
    outcomes = [
        expanded.discretise(noise),
        value,
        expanded.discretise(expanded.noise_given(value)),
        *(expanded.relax(noise, tau) for tau in (0.1, 1.0, 20.0)),
    ]
    for outcome in outcomes:
        assert (outcome[:, 0, 3] == 0).all()
        assert (outcome[:, 1, 0] == 0).all()
    weights = torch.randn(2, 4)
    sums = [(o * weights).sum() for o in outcomes if o.requires_grad]
    sums += [(expanded.mean * weights).sum(), expanded.log_prob(value).sum(), (expanded.noise_given(value)).sum()]
    sums += [expanded.covariance(expanded.mean, noise).sum(), (expanded.gap(noise, noise) * weights).sum()]
    for total in sums:
        (found,) = torch.autograd.grad(total, logits, retain_graph=True)
        assert found.isfinite().all()
        assert found[0, 3] == 0
        assert found[1, 0] == 0


def test_a_mask_stays_one_when_logits_are_moved():
    """A shift that is added later, as the measure of gradients adds it, gets gradient 0 at masked classes too."""
    node = Categorical(masked(torch.float32, -INF).detach())

    def total(shift):
        moved = node.at(node.logits + shift)
        return (moved.logits * torch.arange(8.0).reshape(2, 4)).sum()

    found = grad(total)(torch.zeros(2, 4))
    assert found.tolist() == [[0, 1, 2, 0], [0, 5, 6, 7]]


def test_fixed_bits_are_what_they_are_fixed_to():
    """Bits of infinite logits are 0 and 1, with log-probability 0, gradient 0 and relaxed values 0 and 1."""
    logits = torch.tensor([INF, -INF, 0.5], requires_grad=True)
    node = Bernoulli(logits)
    value = node.sample()
    assert value[:2].tolist() == [1, 0]
    torch.testing.assert_close(node.log_prob(value), Bernoulli(logits[2:]).log_prob(value[2:]))
    relaxed = node.relax(node.noise(), 5.0)
    assert relaxed[:2].tolist() == [1, 0]
    (found,) = torch.autograd.grad(relaxed.sum() + node.log_prob(value) + node.logits.sum(), logits)
    assert found[:2].tolist() == [0, 0]
    assert found.isfinite().all()


class _Largest(NoiseSource):
    """Gives the largest number below 1."""

    def draw(self, law, shape, dtype, device):
        return torch.full(shape, 1 - torch.finfo(dtype).eps / 2, dtype=dtype)


def test_the_largest_noise_does_not_draw_a_masked_class():
    """Where the sum of probabilities rounds to less than the noise, the class is the last that has any."""
    logits = torch.randn(1000, 1, 7, generator=torch.Generator().manual_seed(0))
    logits[..., 5:] = -INF
    with drawn_from(_Largest()):
        assert (Categorical(logits).sample().argmax(-1) == 4).all()
        assert draw_in_proportion(torch.tensor([0.0, 0.3, 0.0])).tolist() == [0, 1, 0]


def ask(node):
    """A program that samples this node."""
    return lambda sample: sample("z", node())[1]


def test_a_variable_without_an_allowed_class_is_one_clear_error():
    """It is raised where the node is made."""
    with pytest.raises(ValueError, match="all -inf"):
        Categorical(torch.tensor([[[0.0, 1.0], [-INF, -INF]], [[0.0, 1.0], [0.0, 1.0]]]))


@pytest.mark.parametrize(
    ("kind", "row", "message"),
    [
        (Categorical, [-INF, -INF], "all -inf"),
        (Categorical, [float("nan"), 0.0], "'z' hold NaN"),
        (Categorical, [INF, 0.0], "'z' hold inf"),
        (Bernoulli, [float("nan"), 0.0], "'z' hold NaN"),
    ],
)
def test_prepare_refuses_logits_that_define_no_distribution(kind, row, message, monkeypatch):
    """Also on a device that nodes do not wait for."""
    logits = torch.tensor([[[0.0, 1.0], row], [[0.0, 1.0], [0.0, 1.0]]])
    monkeypatch.setattr(limits, "extremes", lambda _: None)
    with pytest.raises(ValueError, match=message):
        load_estimator("rloo").prepare(ask(lambda: kind(logits)))


def test_one_diverged_replica_leaves_the_others_alone():
    """Under vmap, NaN and variables without classes give NaN where they are, and no error that would end all."""
    logits = torch.tensor([[[0.0, 1.0]], [[-INF, -INF]], [[float("nan"), 0.0]], [[INF, 0.0]]])
    means = vmap(lambda each: Categorical(each).mean)(logits)
    torch.testing.assert_close(means[0, 0], torch.tensor([0.0, 1.0]).softmax(-1))
    assert means[1:].isnan().any(-1).all()


@pytest.mark.parametrize("kind", [Bernoulli, Categorical])
def test_nodes_that_do_not_look_at_numbers_are_the_same(kind, monkeypatch):
    """On a GPU every node counts as masked: samples and gradients of ordinary logits are what they are elsewhere."""
    found = []
    for looks in (True, False):
        if not looks:
            monkeypatch.setattr(limits, "extremes", lambda _: None)
        logits = torch.randn(200, 3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
        torch.manual_seed(0)
        node = kind(logits)
        assert node.masks != looks
        value = node.sample()
        relaxed = node.relax(node.noise(), 0.5)
        total = (relaxed * torch.randn(4)).sum() + node.log_prob(value).sum() + node.log_prob(relaxed).sum()
        found.append([value, node.mean, node.context, relaxed, *torch.autograd.grad(total, logits)])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_rows_of_equal_finite_logits_are_uniform():
    """Finite logits are masked by their distance from the largest of their variable, not by their size."""
    node = Categorical(torch.tensor([[-1e9, -1e9], [-1e9, 0.0], [-12345.5, -12345.0]]))
    torch.testing.assert_close(node.mean[0], torch.tensor([0.5, 0.5]))
    assert node.mean[1].tolist() == [0, 1]
    torch.testing.assert_close(node.mean[2], torch.tensor([0.0, 0.5]).softmax(-1))
