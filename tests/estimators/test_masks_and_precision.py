"""Every estimator on masked classes, fixed bits and half precision, against enumeration over what is allowed.

Each statistical test is at 5.5 standard errors over some 40 coordinates: about 1 run in 5,000 of all of them together
raises a false alarm.
"""

import itertools
import math
from functools import cache

import pytest
import torch
from torch import nn

from estbench import Bernoulli, Categorical, load_estimator
from estbench.plugins.registry import discover
from estbench.testing.programs import Estimate
from estbench.testing.replicates import replicates
from tests.support.sweeps import sweep

INF = float("inf")
# those of subsets alone are in test_subset_estimators.py and in the conformance kit
KINDS = {Bernoulli, Categorical}
NAMES = sorted(name for name, plugin in discover("estimator").plugins.items() if KINDS & set(plugin.load().accepts))
MADE = {name: load_estimator(name) for name in NAMES}
UNBIASED = [name for name, made in MADE.items() if made.unbiased and made.bound == 1]
HALVES = [torch.bfloat16, torch.float16]
# masks of three examples; the first variable of the third example can take one class only
FREE = torch.tensor([[[1, 1, 1, 0], [1, 1, 1, 1]], [[0, 1, 1, 0], [1, 0, 1, 1]], [[0, 0, 1, 0], [1, 1, 0, 1]]]).bool()
NEXT = torch.tensor([[1, 0, 1]]).bool()


class MaskedClasses(nn.Module):
    """Two variables of four classes, masked differently in each example, and one of three that depends on them."""

    kind = Categorical

    def __init__(self, fill=-INF, free=FREE, following=NEXT):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.logits = nn.Parameter(torch.randn(free.shape, generator=generator))
        self.link = nn.Parameter(torch.randn(free[0].numel(), following.numel(), generator=generator))
        self.readout = nn.Parameter(torch.randn(free[0].numel() + following.numel(), 3, generator=generator))
        self.free, self.following, self.fill = free, following, fill

    def first(self):
        return self.kind(self.logits.masked_fill(~self.free, self.fill))

    def second(self, value):
        logits = (value.flatten(1 - self.logits.ndim) @ self.link).unflatten(-1, self.following.shape)
        return self.kind(logits.masked_fill(~self.following, self.fill))

    def forward(self):
        def program(sample):
            value, log_q = sample("first", self.first())
            after, log_r = sample("second", self.second(value))
            parts = (x.flatten(1 - self.logits.ndim) for x in (value, after))
            shapes = torch.broadcast_shapes(value.shape[: 1 - self.logits.ndim], after.shape[: 1 - self.logits.ndim])
            hidden = torch.cat([part.expand(*shapes, -1) for part in parts], -1) @ self.readout
            return log_q + log_r + hidden.tanh().sum(-1)

        return program


class FixedBits(MaskedClasses):
    """Three bits, of which some are fixed, differently in each example, and two that depend on them."""

    kind = Bernoulli

    def __init__(self, fill=-INF):
        super().__init__(fill, FREE[:, 1, :3] & FREE[:, 0, 1:], torch.tensor([True, False]))


def model_for(estimator, fill=-INF):
    return MaskedClasses(fill) if Categorical in estimator.accepts else FixedBits(fill)


@cache
def enumerated(kind):
    """The value and the gradient, in float64, by a loop over allowed values only."""
    model = kind().double()
    total = 0.0
    for example in range(len(model.free)):
        free = model.free[example]
        for log_q, value in joint(model.logits[example], free):
            for log_r, after in joint((value.flatten() @ model.link).reshape(model.following.shape), model.following):
                hidden = torch.cat([value.flatten(), after.flatten()]) @ model.readout
                cost = log_q + log_r + hidden.tanh().sum()
                total = total + (log_q + log_r).exp() * cost / len(model.free)
    gradients = torch.autograd.grad(total, list(model.parameters()))
    return total.item(), torch.cat([g.flatten() for g in gradients])


def joint(logits, free):
    """Log-probabilities and values of one example: of classes by a softmax over those that are allowed."""
    if logits.ndim == 1:
        for bits in itertools.product(*([0.0, 1.0] if allowed else [0.0] for allowed in free)):
            value = torch.tensor(bits, dtype=logits.dtype)
            each = torch.nn.functional.logsigmoid((2 * value - 1) * logits)
            yield each[free].sum(), value
        return
    for classes in itertools.product(*(row.nonzero().flatten().tolist() for row in free)):
        value = torch.nn.functional.one_hot(torch.tensor(classes), logits.shape[-1]).to(logits.dtype)
        each = [row[c] - row[allowed].logsumexp(0) for row, allowed, c in zip(logits, free, classes, strict=True)]
        yield torch.stack(each).sum(), value


def assert_near(found, expected, tolerance=2e-5):
    """The mean of replicates is within 5.5 standard errors, and rounding."""
    error = found.std(0) / len(found) ** 0.5
    excess = (found.double().mean(0) - expected).abs() - 5.5 * error - tolerance
    assert (excess < 0).all(), excess.max()


def noting(program, seen):
    """The same program; it notes what it gets."""

    def keeping(sample):
        def kept(name, node):
            value, log_q = sample(name, node)
            seen.append((name, value.detach()))
            return value, log_q

        return program(kept)

    return keeping


@pytest.mark.parametrize("name", UNBIASED)
def test_masked_problems_have_the_mean_of_an_enumeration_of_what_is_allowed(name):
    """2,048 replicates of an unbiased estimator have its value and gradient, exactly 0 at masked logits."""
    torch.manual_seed(0)
    estimator = load_estimator(name)
    model = model_for(estimator)
    bench = Estimate(model, estimator.prepare(model()).eval())
    values, gradients = next(replicates(bench, 2048))
    value, gradient = enumerated(type(model))
    assert (gradients[:, : model.free.numel()][:, ~model.free.flatten()] == 0).all()
    assert_near(values[:, None], torch.tensor([value]))
    assert_near(gradients, gradient)


@pytest.mark.parametrize("name", NAMES)
def test_no_estimator_asks_for_the_cost_of_a_masked_class(name):
    """In both modes, all values at which the cost is evaluated are 0 at masked classes, and gradients 0 and finite."""
    estimator = load_estimator(name)
    model = model_for(estimator)
    estimator.prepare(model())
    for seed in range(20):
        torch.manual_seed(seed)
        seen = []
        model.zero_grad()
        estimator.train(seed % 2 == 0)(noting(model(), seen)).backward()
        for parameter in [*model.parameters(), *estimator.parameters()]:
            assert parameter.grad is None or parameter.grad.isfinite().all()
        assert (model.logits.grad[~model.free] == 0).all()
        for node, value in seen:
            free = model.free if node == "first" else model.following
            assert (value * ~free == 0).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", sweep([torch.float32, torch.float64, *HALVES], [torch.float32, torch.bfloat16]))
def test_large_finite_masks_are_masks(name, dtype):
    """The least number of each dtype, and -1e9 where it has that, give what minus infinity gives, bit for bit."""
    estimates = []
    for fill in (-INF, torch.finfo(dtype).min, *([-1e9] if dtype != torch.float16 else [])):
        torch.manual_seed(0)
        estimator = load_estimator(name)
        model = model_for(estimator, fill).to(dtype)
        torch.manual_seed(1)
        value = estimator.prepare(model())(model())
        estimates.append([value, *torch.autograd.grad(value, list(model.parameters()))])
    assert all(torch.equal(x, y) for other in estimates[1:] for x, y in zip(estimates[0], other, strict=True))
    assert all(x.isfinite().all() for x in estimates[0])


@pytest.mark.parametrize("count", [3, 6])
@pytest.mark.parametrize(
    "name", ["sum_and_sample[{}]", "sum_and_sample[{},baseline=estimate]", "unordered_set[{}]", "rao_blackwell[{}]"]
)
def test_choosing_more_values_than_masks_leave_sums_all_of_them(name, count):
    """Where as many or more distinct values are chosen than are allowed, the estimate has no noise and is exact."""
    free = torch.tensor([[[True, True, False, True], [False, False, True, False]]])
    model = MaskedClasses(free=free, following=torch.tensor([[True, False]]))
    estimator = load_estimator(name.format(f"summed={count - 1}" if "black" in name else f"samples={count}"))

    def first_only():
        return lambda sample: _cost(model, *sample("first", model.first()))

    def _cost(model, value, log_q):
        return log_q + (value.flatten(-2) @ model.readout[:8]).tanh().sum(-1)

    def gradient(estimator):
        value = estimator.prepare(first_only())(first_only())
        return torch.cat(
            [value[None], *(g.flatten() for g in torch.autograd.grad(value, [model.logits, model.readout]))]
        )

    exact = gradient(load_estimator("exact"))
    for seed in range(20):
        torch.manual_seed(seed)
        torch.testing.assert_close(gradient(estimator), exact, rtol=1e-4, atol=1e-6)


class Half(nn.Module):
    """An encoder and a decoder, as in a model that is wholly of half precision or under autocast."""

    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(2)
        event = (4,) if kind is Bernoulli else (2, 3)
        self.kind, self.event = kind, event
        size = 4 if kind is Bernoulli else 6
        self.encoder, self.decoder, self.register = nn.Linear(5, size), nn.Linear(size, 3), None
        self.second = nn.Linear(size, size)
        self.register_buffer("x", torch.rand(6, 5))

    def forward(self):
        q = self.kind(self.encoder(self.x).unflatten(-1, self.event))

        def program(sample):
            z, log_q = sample("z", q)
            hidden = z.flatten(-len(self.event))
            y, log_r = sample("y", self.kind(self.second(hidden).unflatten(-1, self.event)))
            log_p = Bernoulli(self.decoder(y.flatten(-len(self.event)))).log_prob(self.x[:, :3].round())
            return log_q + log_r - log_p

        return program


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", sweep(HALVES, [torch.bfloat16]))
def test_models_of_half_precision_run(name, dtype):
    """A model turned to half precision, with its estimator or before it is prepared, trains and is mapped by vmap."""
    estimator = load_estimator(name)
    model = Half(Categorical if Categorical in estimator.accepts else Bernoulli).to(dtype)
    bench = Estimate(model, estimator.prepare(model())).to(dtype)
    for training in (True, False):
        bench.zero_grad()
        value = bench.train(training)()
        value.backward()
        assert value.dtype == torch.float32
        assert all(p.grad.dtype == dtype and p.grad.isfinite().all() for p in model.parameters())
    assert all(p.dtype == torch.float32 for p in estimator.parameters())
    next(replicates(bench.eval(), 8))


@pytest.mark.parametrize("name", NAMES)
def test_models_run_under_autocast(name):
    """Where model and estimator run under autocast, parameters of float32 get finite gradients of float32."""
    estimator = load_estimator(name)
    model = Half(Categorical if Categorical in estimator.accepts else Bernoulli)
    with torch.autocast("cpu", torch.bfloat16):
        estimator.prepare(model())(model()).backward()
    assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in model.parameters())


class Rare(nn.Module):
    """A bit of logit -5, or two classes of logits 0 and -5; the rare value costs 3. Forty equal examples."""

    def __init__(self, kind, dtype):
        super().__init__()
        self.kind = kind
        row = torch.tensor([-5.0] if kind is Bernoulli else [[0.0, -5.0]])
        self.logits = nn.Parameter(row.expand(40, *row.shape).to(dtype).clone())

    def forward(self):
        def program(sample):
            value, _ = sample("z", self.kind(self.logits))
            return 3 * value.float().flatten(1 - self.logits.ndim)[..., -1]

        return program


@pytest.mark.parametrize("dtype", sweep(HALVES, [torch.bfloat16]))
@pytest.mark.parametrize("name", UNBIASED)
def test_rare_values_of_half_precision_have_the_gradients_of_an_enumeration(name, dtype):
    """The probability 0.0067 in half precision: unbiased estimators have the exact value and gradient, within 1 %."""
    torch.manual_seed(0)
    estimator = load_estimator(name)
    kind = Categorical if Categorical in estimator.accepts else Bernoulli
    model = Rare(kind, dtype)
    bench = Estimate(model, estimator.prepare(model()).eval())
    values, gradients = next(replicates(bench, 2048))
    p = 1 / (1 + math.exp(5))
    slope = 3 * p * (1 - p)
    assert_near(values[:, None], torch.tensor([3 * p]), 0.03 * p)
    # each of the equal examples has its share of the mean
    each = torch.tensor([slope] if kind is Bernoulli else [-slope, slope])
    assert_near(gradients.double().reshape(2048, 40, -1).sum(1), each, 0.01 * slope)
