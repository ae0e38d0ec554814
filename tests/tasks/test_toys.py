"""The toys against values derived by hand, which are those of the papers."""

import functools
import math

import pytest
import torch
from torch.func import grad, vmap

from estbench import ScoreFunction, load_estimator, load_task
from estbench.core.program import draw, mean, run
from estbench.engine.base import Bench
from estbench.engine.moments.points import shifted
from estbench.measures.gradient import Gradient
from estbench.testing.tasks import check_task

SATURATED = 40.0


def bench(name):
    """A bench in double precision."""
    task = load_task(name)
    oracle = lambda m: load_estimator(task.oracle, samples=m)  # noqa: E731
    baseline = functools.partial(load_estimator, task.baseline)
    return Bench(task, 0, torch.device("cpu"), torch.float64, baseline, oracle)


def expected_cost(name, logit):
    """The expected cost of a task where the log-odds of every variable are this."""
    task = load_task(name)
    model = task.model().double()
    (parameter,) = model.parameters()
    # of two classes the first counts as 1
    odds = torch.tensor([logit, 0.0]) if parameter.ndim == 2 else torch.tensor(logit)
    parameter.data.copy_(odds.expand(parameter.shape))
    batch = tuple(x.double() for x in task.splits().train)
    return run(task.closed_form(model, batch), mean)[0].mean().item()


@pytest.mark.parametrize("name", ["coins", "polynomial[units=3]", "polynomial[latents=bernoulli,units=3,power=1.5]"])
def test_they_are_tasks(name):
    """The program broadcasts, and a gradient reaches every parameter."""
    check_task(load_task(name))


@pytest.mark.parametrize(
    ("name", "start", "least"),
    [
        ("toy[target=0.45]", 0.2525, 0.2025),
        ("toy[target=0.49]", 0.2501, 0.2401),
        ("toy[target=0.499]", 0.250001, 0.249001),
        ("toy[target=0.499,units=200]", 0.250001, 0.249001),
        ("polynomial[power=1.5]", 0.35488004687636654, 0.3018691769624716),
        ("polynomial[power=2]", 0.2525, 0.2025),
        ("polynomial[power=3]", 0.12875, 0.091125),
        ("coins", 0.7605, 0.6705),
    ],
)
def test_they_start_and_end_at_their_exact_costs(name, start, least):
    """At even odds the expected cost is the mean of the costs of 0 and 1, and the least one that of the better."""
    best = SATURATED if name == "coins" else -SATURATED
    assert expected_cost(name, 0.0) == pytest.approx(start, rel=1e-7)
    assert expected_cost(name, best) == pytest.approx(least, rel=1e-7)


@pytest.mark.parametrize("name", ["coins", "polynomial[units=4,power=3]", "polynomial[units=4,latents=bernoulli]"])
def test_their_closed_form_is_the_enumerated_one(name):
    """Cost and gradient at the means equal those by enumeration."""
    task = load_task(name)
    model, exact = task.model(), load_estimator("exact")
    batch = task.splits().train
    program, closed = model(*batch), task.closed_form(model, batch)
    zeros = {key: torch.zeros_like(site.node.logits) for key, site in run(program, draw)[1].items()}
    torch.testing.assert_close(
        grad(lambda s: run(shifted(closed, s), mean)[0].mean())(zeros),
        grad(lambda s: exact(shifted(program, s)))(zeros),
    )
    torch.testing.assert_close(run(closed, mean)[0].mean(), exact(program))


def test_three_coins_have_their_published_gradient():
    """At eta = 0 the gradient by the shared logit is -.045, by enumeration and in closed form."""
    model = load_task("coins").model().double()
    x = torch.zeros(1, 0, dtype=torch.float64)
    (slope,) = torch.autograd.grad(load_estimator("exact")(model(x)), model.parameters())
    assert slope.item() == pytest.approx(-0.045)
    closed = run(load_task("coins").closed_form(model, (x,)), mean)[0].mean()
    assert torch.autograd.grad(closed, model.parameters())[0].item() == pytest.approx(-0.045)


def test_the_gradient_by_the_shared_logit_is_measured():
    """The encoder's rows have the exact gradient as reference: Gumbel-Softmax is biased, RLOO is not."""
    found = {}
    for name in ("rloo", "gumbel_softmax"):
        makers = {name: functools.partial(load_estimator, name)}
        rows = Gradient(replicates=4096, after=0).rows(bench("coins"), makers)
        found[name] = {row.metric: row for _, row in rows}
    assert found["rloo"]["unbiased_p/encoder"].value > 1e-4
    assert found["gumbel_softmax"]["unbiased_p/encoder"].value < 1e-4
    assert found["rloo"]["bias/encoder"].status == "ok"


class Centred(ScoreFunction):
    """REINFORCE with the exact expected cost as its baseline."""

    unbiased = True
    paper = ""

    def __init__(self, centre, samples):
        super().__init__(samples=samples)
        self.centre = centre

    def baseline(self, name, node, cost):
        return torch.full_like(cost, self.centre)


def variances(task, estimator, replicates):
    """Variances of the gradient by logits, averaged over them, and their standard error."""
    model = load_task(task).model().double()
    program = model(torch.zeros(1, 0, dtype=torch.float64))
    zeros = {key: torch.zeros_like(site.node.logits) for key, site in run(program, draw)[1].items()}

    def gradient(_):
        (g,) = grad(lambda s: estimator(shifted(program, s)))(zeros).values()
        return g.flatten()

    with torch.no_grad():
        g = vmap(gradient, randomness="different", chunk_size=1000)(torch.empty(replicates))
    squares = (g - g.mean(0)).square().mean(1)
    return squares.mean().item(), squares.std().item() / replicates**0.5


@pytest.mark.parametrize("sense", ["minimise", "maximise"])
@pytest.mark.parametrize(
    ("name", "variance"),
    [("rloo", 1.25e-9), ("disarm", 1.24375e-9), ("centred", 6.21875e-10)],
)
def test_two_hundred_units_have_the_variances_of_double_control_variates(name, variance, sense):
    """RLOO(2), DisARM and REINFORCE(2) about the exact mean, whichever way it goes; within 5 standard errors."""
    torch.manual_seed(0)
    sign = 1 if sense == "minimise" else -1
    estimator = Centred(sign * 0.250001, 2) if name == "centred" else load_estimator(name)
    found, error = variances(f"toy[target=0.499,units=200,sense={sense}]", estimator.eval(), 10_000)
    assert abs(found - variance) <= 5 * error
    assert error < 0.05 * variance


@pytest.mark.parametrize("target", [0.45, 0.499])
def test_reinforce_has_the_logarithms_of_rebar_and_relax(target):
    """The logarithm of the variance of REINFORCE is -4.1390 at t = .45 and -4.1589 at t = .499, as published."""
    torch.manual_seed(0)
    found, error = variances(f"toy[target={target}]", load_estimator("reinforce").eval(), 100_000)
    assert math.log(found) == pytest.approx({0.45: -4.138982, 0.499: -4.158875}[target], abs=5 * error / found)


def test_maximising_turns_the_sign():
    """Cost and gradient of the maximised toy are minus those of the minimised one, for bits and for classes."""
    for options in ("units=3,initial_logits=0.4", "latents=categorical,initial_logits=0.4"):
        found = []
        for sense in ("minimise", "maximise"):
            model = load_task(f"toy[{options},sense={sense}]").model()
            cost = load_estimator("exact")(model(torch.zeros(1, 0)))
            found.append((cost, *torch.autograd.grad(cost, model.parameters())))
        torch.testing.assert_close(found[0], tuple(-x for x in found[1]))


@pytest.mark.parametrize("power", [1.5, 2, 3])
def test_a_fresh_polynomial_starts_near_its_analytic_cost(power):
    """Logits within .01 of each other move the cost by less than half of that times the difference of the two costs."""
    task = load_task("polynomial", power=float(power))
    program = task.closed_form(task.model(), task.splits().train)
    start = (0.55**power + 0.45**power) / 2
    assert abs(run(program, mean)[0].mean().item() - start) < 0.005 * (0.55**power - 0.45**power)


def test_training_brings_the_polynomial_down():
    """With larger steps than the paper's 200 of ReinMax end near the least cost, which no sample can go below."""
    torch.manual_seed(0)
    task = load_task("polynomial[learning_rate=0.1,units=16]")
    model, batch, estimator = task.model(), task.splits().train, load_estimator("reinmax")
    trainer = task.trainer(model, estimator)
    for _ in range(200):
        trainer.zero_grad()
        estimator(model(*batch)).backward()
        trainer.step()
    loss = run(task.closed_form(model, batch), mean)[0].mean().item()
    assert 0.2025 <= loss < 0.206


def test_wrong_options_say_what_was_received():
    """Sizes and targets they cannot have are refused."""
    with pytest.raises(ValueError, match="got"):
        load_task("coins", targets=" ")
    for name in ("polynomial[power=0.5]", "polynomial[units=0]", "polynomial[target=2]"):
        with pytest.raises(ValueError, match="got"):
            load_task(name)
