import pickle

import pytest
import torch
from torch import nn

import estbench
from estbench import Bernoulli, Categorical, NotApplicableError, ScoreFunction, load_estimator
from estbench.core.estimator import inject
from estbench.core.networks import MovingAverage

CUDA = pytest.param("cuda", marks=pytest.mark.cuda)


class Model(nn.Module):
    """Two layers of bits with a decoder."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Linear(4, 3)
        self.second = nn.Linear(3, 2)
        self.decoder = nn.Linear(2, 4)

    def forward(self, x):
        q = Bernoulli(self.encoder(x))

        def program(sample):
            a, log_a = sample("a", q)
            b, log_b = sample("b", Bernoulli(self.second(a)))
            return log_a + log_b - Bernoulli(self.decoder(b)).log_prob(x)

        return program


def test_inject_gives_the_mean_gradient_and_no_value():
    """The logits receive the gradient averaged over samples and batch; the value is zero."""
    logits = torch.zeros(5, 2, requires_grad=True)
    gradient = torch.randn(3, 5, 2)
    scalar = inject(Bernoulli(logits), gradient)
    scalar.backward()
    assert scalar.item() == 0
    torch.testing.assert_close(logits.grad, gradient.mean(0) / 5)


def test_a_refused_node_is_named_with_its_kind():
    """ARM on a categorical node says what it takes and what it was given."""
    node = Categorical(torch.zeros(1, 2, 3))
    with pytest.raises(NotApplicableError, match="ARM takes Bernoulli nodes; 'z' is Categorical"):
        load_estimator("arm")(lambda sample: sample("z", node)[0].sum((-1, -2)))


@pytest.mark.parametrize("used", ["first", "second"])
@pytest.mark.parametrize(
    "name",
    ["disarm", "arm", "arms", "sum_and_sample[samples=4]", "rao_blackwell[summed=3]", "unordered_set[samples=4]"],
)
def test_a_node_that_reaches_nothing_has_no_gradient(name, used):
    """Of two independent nodes of which one is used, that one has its gradient, and the other, in the mean, none."""
    costs = torch.tensor([0.5, -1.0], dtype=torch.float64)

    def gradients(estimator, batch):
        logits = {
            name: torch.full((batch, 2), 0.3, dtype=torch.float64, requires_grad=True) for name in ("first", "second")
        }

        def program(sample):
            values = {name: sample(name, Bernoulli(each))[0] for name, each in logits.items()}
            return (values[used] * costs).sum(-1) ** 2

        estimator.prepare(program)(program).backward()
        # the scalar is the mean over the batch, whose examples are drawn apart: each has an estimate of its own
        return {name: batch * each.grad for name, each in logits.items()}

    torch.manual_seed(0)
    estimator = load_estimator(name)
    (unused,) = {"first", "second"} - {used}
    torch.testing.assert_close(gradients(estimator, 2)[unused], torch.zeros(2, 2, dtype=torch.float64))
    drawn, exact = gradients(estimator, 1200)[used], gradients(load_estimator("exact"), 1)[used][0]
    error = (drawn.mean(0) - exact).abs()
    assert bool((error <= 5 * drawn.std(0) / len(drawn) ** 0.5 + 1e-9).all())


def test_an_unprepared_network_says_what_to_call():
    """RELAX without ``prepare`` is one clear error."""
    with pytest.raises(RuntimeError, match=r"call estimator.prepare\(program\) first"):
        load_estimator("relax")(Model()(torch.zeros(2, 4)))


@pytest.mark.parametrize("name", ["nvil", "rebar", "relax"])
def test_tuning_leaks_nothing_into_the_model(name):
    """Training what an estimator learns leaves the model's gradient unchanged, bit for bit."""
    model, x = Model(), torch.ones(6, 4)
    estimator = load_estimator(name).prepare(model(x))
    for parameter in estimator.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    found = []
    for training in (False, True):
        torch.manual_seed(1)
        model.zero_grad()
        estimator.train(training)(model(x)).backward()
        found.append([p.grad.clone() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("name", ["nvil", "rebar", "relax"])
def test_a_backward_pass_reaches_everything_that_is_learned(name):
    """Each of the estimator's parameters receives a gradient in training and none in evaluation."""
    model, x = Model(), torch.rand(6, 4)
    estimator = load_estimator(name).prepare(model(x))
    for parameter in estimator.parameters():
        parameter.data.add_(0.1)
    estimator.eval()(model(x)).backward()
    assert all(p.grad is None or not p.grad.any() for p in estimator.parameters())
    estimator.train()(model(x)).backward()
    assert all(p.grad is not None and p.grad.any() for p in estimator.parameters())


def test_tuning_follows_the_derivative_of_the_squared_gradient():
    """REBAR's scale receives the derivative of the mean squared gradient, as finite differences see it."""
    torch.manual_seed(0)
    logits = torch.randn(1, 3, dtype=torch.float64, requires_grad=True)
    costs = torch.tensor([0.3, 1.0, -0.7], dtype=torch.float64)

    def program(sample):
        return ((sample("b", Bernoulli(logits))[0] * costs).sum(-1) - 0.2) ** 2

    def squares(scale):
        estimator = load_estimator("rebar").double().eval()
        estimator.scale.data.fill_(scale)
        torch.manual_seed(5)
        (gradient,) = torch.autograd.grad(estimator(program), logits)
        return gradient.square().sum()

    estimator = load_estimator("rebar").double()
    estimator.scale.data.fill_(0.8)
    torch.manual_seed(5)
    estimator(program).backward()
    expected = (squares(0.8 + 1e-5) - squares(0.8 - 1e-5)) / 2e-5
    torch.testing.assert_close(estimator.scale.grad, expected, rtol=1e-6, atol=1e-9)


def test_a_moving_average_is_plain_until_it_has_seen_enough():
    """Its first values are plain averages, and later ones decay."""
    average = MovingAverage(0.5)
    seen = []
    for observed in (1.0, 2.0, 6.0):
        average.update(torch.tensor(observed))
        seen.append(average.value.item())
    assert seen == [1.0, 1.5, 3.75]


def test_a_plugin_is_a_hook():
    """A family with its hook filled in is an estimator, in anybody's own training loop."""

    class HalfMean(ScoreFunction):
        unbiased = True
        paper = ""

        def baseline(self, name, node, cost):
            return torch.full_like(cost, 0.5)

    logits = torch.zeros(1, 1, requires_grad=True)
    loss = HalfMean()(lambda sample: sample("b", Bernoulli(logits))[0].sum(-1))
    loss.backward()
    # (b - 1/2) (b - p) is 1/4 whatever is drawn
    assert logits.grad.item() == pytest.approx(0.25)
    assert loss.item() in (0.0, 1.0)


@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_training_lowers_the_cost(device):
    """A few hundred steps of a loop written by hand lower the exact cost."""
    model, x = Model().to(device), torch.ones(6, 4, device=device)
    estimator, exact = load_estimator("rloo", samples=4), load_estimator("exact")
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    before = exact(model(x)).item()
    for _ in range(200):
        optimizer.zero_grad()
        estimator(model(x)).backward()
        optimizer.step()
    assert exact(model(x)).item() < before / 4


def test_public_names_import_and_unknown_ones_do_not():
    """All that ``estbench`` promises is there; what is not says so."""
    assert all(getattr(estbench, name) is not None for name in estbench.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = estbench.nothing


def test_prepared_estimators_pickle():
    """An estimator with its networks goes to a worker process and back."""
    model, x = Model(), torch.rand(6, 4)
    estimator = load_estimator("relax").prepare(model(x))
    again = pickle.loads(pickle.dumps(estimator))
    assert all(torch.equal(a, b) for a, b in zip(estimator.parameters(), again.parameters(), strict=True))
