import itertools
import math

import pytest
import torch

from estbench import load_estimator, load_task
from estbench.core.program import draw, lengths, repeat, run
from estbench.engine.moments.points import shifted
from estbench.testing.tasks import check_task

SMALL = "sequence_policy[hidden=4]"


def start(spec=SMALL):
    """A model in float64 with policies that differ clearly from uniform ones, and its prompts."""
    torch.manual_seed(0)
    task = load_task(spec)
    model = task.model().double()
    for p in model.parameters():
        p.data *= 2
    return task, model, task.splits().train[0].double()


def strings(steps, tokens):
    """All sequences: up to ``steps`` tokens, with the end where there is room for it."""
    for length in range(steps + 1):
        for written in itertools.product(range(tokens), repeat=length):
            yield written + ((tokens,) if length < steps else ())


def by_hand(model, prompt, steps, tokens, modulus):
    """Each sequence's probability and reward for one prompt, by the policy's network and plain Python."""
    for string in strings(steps, tokens):
        log_q, last, total = 0.0, tokens, 0
        for step, token in enumerate(string):
            x = torch.zeros(2 * modulus + steps + tokens + 1, dtype=torch.float64)
            x[[prompt, modulus + step, modulus + steps + last, modulus + steps + tokens + 1 + total]] = 1
            log_q += model.policy(x).log_softmax(-1)[token].item()
            last, total = token, (total + token + 1) % modulus if token < tokens else total
        yield string, log_q, float(sum(t + 1 for t in string if t < tokens) % modulus == prompt)


@pytest.mark.parametrize("spec", [SMALL, "sequence_policy[steps=2,tokens=1,modulus=2,hidden=3 2,beta=0.1]"])
def test_it_is_a_task(spec):
    """The data stay the same, the program broadcasts, and a gradient reaches every parameter."""
    check_task(load_task(spec))


@pytest.mark.parametrize(("steps", "tokens", "modulus", "beta"), [(3, 2, 3, 0.0), (2, 3, 4, 0.3)])
def test_enumeration_and_metrics_are_those_of_all_strings_by_hand(steps, tokens, modulus, beta):
    """Objective of ``exact``, reward, pass@8, length and entropy equal sums over all strings in plain Python."""
    task, model, x = start(f"sequence_policy[{steps=},{tokens=},{modulus=},{beta=},hidden=4]")
    expected = {"reward": [], "length": [], "entropy": []}
    cost = 0.0
    for prompt in range(modulus):
        rows = [(math.exp(log_q), log_q, r, len(s)) for s, log_q, r in by_hand(model, prompt, steps, tokens, modulus)]
        assert sum(q for q, *_ in rows) == pytest.approx(1)
        expected["reward"].append(sum(q * r for q, _, r, _ in rows))
        expected["length"].append(sum(q * length for q, _, _, length in rows))
        expected["entropy"].append(-sum(q * log_q for q, log_q, _, _ in rows))
        cost += sum(q * (beta * (log_q + length * math.log(tokens + 1)) - r) for q, log_q, r, length in rows)
    with torch.no_grad():
        found = task.metrics(model, (x,))
        assert load_estimator("exact")(model(x)).item() == pytest.approx(cost / modulus)
    expected["pass_at_8"] = [1 - (1 - p) ** 8 for p in expected["reward"]]
    assert {key: value.tolist() for key, value in found.items()} == {
        key: pytest.approx(value) for key, value in expected.items()
    }


def test_steps_after_the_end_have_no_score():
    """Their log q and the gradient of their logits are exactly 0, and lengths count the steps up to the end."""
    _, model, x = start()
    cost, sites = run(model(x), repeat(draw, 200))
    ended = torch.zeros(200, len(x), dtype=torch.bool)
    counted = torch.zeros(200, len(x), dtype=torch.float64)
    for node, value in sites.values():
        logits = node.logits.detach().expand(value.shape).clone().requires_grad_()
        log_q = node.at(logits).log_prob(value)
        (slope,) = torch.autograd.grad(log_q.sum(), logits)
        assert bool((log_q[ended] == 0).all())
        assert bool((slope[ended] == 0).all())
        assert bool((slope[~ended] != 0).any())
        counted += ~ended
        ended |= value[..., 0, -1] == 1
    assert 0 < ended.double().mean() < 1
    assert torch.equal(lengths(sites), counted)
    assert set(cost.unique().tolist()) == {-1.0, 0.0}


@pytest.mark.parametrize("beta", [0.0, 0.2])
def test_rloo_has_the_enumerated_gradient_on_average(beta):
    """Means of 4,000 gradients of all 60 logits are within 5 standard errors: a false alarm in 10,000 runs."""
    _, model, x = start(f"sequence_policy[hidden=4,{beta=}]")

    def gradients(estimator, prompts):
        shifts = {f"token{k}": torch.zeros(len(prompts), 1, 4).double().requires_grad_() for k in (1, 2, 3)}
        load_estimator(estimator)(shifted(model(prompts), shifts)).backward()
        return len(prompts) * torch.stack([shift.grad for shift in shifts.values()]).squeeze(2)

    exact = gradients("exact", x)
    g = gradients("rloo[samples=4]", x.repeat(4000, 1)).unflatten(1, (4000, len(x)))
    error = g.std(1) / len(g[0]) ** 0.5
    assert bool(((g.mean(1) - exact).abs() <= 5 * error).all())
    assert bool((exact.abs() > 5 * error).any())


def test_training_with_rloo_raises_the_reward():
    """From about 1 in 5, 150 steps of RLOO with 4 samples bring the mean reward above one half."""
    torch.manual_seed(0)
    task = load_task("sequence_policy[learning_rate=0.01]")
    model, batch = task.model(), task.splits().train
    estimator = load_estimator("rloo[samples=4]").prepare(model(*batch))
    trainer = task.trainer(model, estimator)
    with torch.no_grad():
        before = task.metrics(model, batch)["reward"].mean().item()
    for _ in range(150):
        trainer.zero_grad()
        estimator(model(*batch)).backward()
        trainer.step()
    with torch.no_grad():
        assert before < 0.3
        assert task.metrics(model, batch)["reward"].mean().item() > 0.5


@pytest.mark.parametrize("option", ["steps=0", "tokens=0", "modulus=1", "beta=-1.0"])
def test_sizes_that_cannot_be_are_refused(option):
    """A policy without steps, tokens or two prompts, or with a negative weight, is refused with what was received."""
    with pytest.raises(ValueError, match=option):
        load_task(f"sequence_policy[{option}]")
