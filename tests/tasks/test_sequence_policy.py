import itertools
import math

import pytest
import torch

from benchmarks.sequence import by_hand
from estbench import load_estimator, load_task
from estbench.core.program import draw, lengths, plate, repeat, run
from estbench.engine.moments.points import shifted
from estbench.engine.profiling.allocated_memory import allocated_peak
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


def all_strings(model, prompt, steps, tokens, modulus):
    """Each sequence's probability and reward for one prompt, by the policy's network and plain Python."""
    for string in strings(steps, tokens):
        log_q, last, total = 0.0, tokens, 0
        for step, token in enumerate(string):
            x = torch.zeros(2 * modulus + steps + tokens + 1, dtype=torch.float64)
            x[[prompt, modulus + step, modulus + steps + last, modulus + steps + tokens + 1 + total]] = 1
            log_q += model.policy.layers(x).log_softmax(-1)[token].item()
            last, total = token, (total + token + 1) % modulus if token < tokens else total
        yield string, log_q, float(sum(t + 1 for t in string if t < tokens) % modulus == prompt)


@pytest.mark.parametrize(
    "spec",
    [
        SMALL,
        "sequence_policy[steps=2,tokens=1,modulus=2,hidden=3 2,beta=0.1]",
        "sequence_policy[policy=gru,hidden=3,beta=0.1,reference=start]",
    ],
)
def test_it_is_a_task(spec):
    """The data stay the same, the program broadcasts, and a gradient reaches every parameter."""
    check_task(load_task(spec))


@pytest.mark.parametrize(("steps", "tokens", "modulus", "beta"), [(3, 2, 3, 0.0), (2, 3, 4, 0.3)])
def test_enumeration_and_metrics_are_those_of_all_strings_by_hand(steps, tokens, modulus, beta):
    """Objective of ``exact``, reward, pass@3, length and entropy equal sums over all strings in plain Python."""
    task, model, x = start(f"sequence_policy[{steps=},{tokens=},{modulus=},{beta=},hidden=4,attempts=3]")
    expected = {"reward": [], "length": [], "entropy": []}
    cost = 0.0
    for prompt in range(modulus):
        rows = [
            (math.exp(log_q), log_q, r, len(s)) for s, log_q, r in all_strings(model, prompt, steps, tokens, modulus)
        ]
        assert sum(q for q, *_ in rows) == pytest.approx(1)
        expected["reward"].append(sum(q * r for q, _, r, _ in rows))
        expected["length"].append(sum(q * length for q, _, _, length in rows))
        expected["entropy"].append(-sum(q * log_q for q, log_q, _, _ in rows))
        cost += sum(q * (beta * (log_q + length * math.log(tokens + 1)) - r) for q, log_q, r, length in rows)
    with torch.no_grad():
        found = task.metrics(model, (x,))
        assert load_estimator("exact")(model(x)).item() == pytest.approx(cost / modulus)
    expected["pass_at_3"] = [1 - (1 - p) ** 3 for p in expected["reward"]]
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


def test_a_gru_is_torchs_and_remembers_the_sum():
    """Its logits are those of torch's GRU cell; it is not told the sum, and yet the exact gradient is finite."""
    _, model, x = start("sequence_policy[policy=gru,hidden=4]")
    cell = torch.nn.GRUCell(12, 4, dtype=torch.float64)
    ours = (model.policy.inward, model.policy.onward)
    cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh = (
        each for kind in ("weight", "bias") for each in (getattr(ours[0], kind), getattr(ours[1], kind))
    )
    seen, memory = torch.randn(2, 7, 12).double(), torch.randn(7, 4).double()
    logits, after = model.policy(seen, memory)
    expected = torch.stack([cell(each, memory) for each in seen])
    torch.testing.assert_close(after, expected)
    torch.testing.assert_close(logits, model.policy.outward(expected))
    load_estimator("exact")(model(x)).backward()
    assert all(p.grad.abs().max() > 0 for p in model.parameters())


def test_metrics_of_a_gru_are_unbiased():
    """Estimated reward, pass@2, length and entropy are within 5 standard errors of sums over all 64 sequences."""
    task, model, x = start("sequence_policy[policy=gru,hidden=4,attempts=2]")
    probs = []

    def everything(name, node, sites):
        support = node.permitted(node.enumerate_support())
        probs.append(node.log_prob(node.enumerate_support()))
        return support

    with torch.no_grad():
        cost, sites = run(model(x), plate(everything), keep_score=True)
        log_q = sum(probs)
        q, log_q, cost, length = (
            t.expand(4, 4, 4, 5).flatten(0, 2) for t in (log_q.exp(), log_q, cost, lengths(sites))
        )
        reward = -(q * cost).sum(0)
        assert torch.allclose(q.sum(0), torch.ones(5).double())
        expected = {
            "reward": reward,
            "pass_at_2": 1 - (1 - reward) ** 2,
            "length": (q * length).sum(0),
            "entropy": -(q * log_q.clamp_min(-1e3)).sum(0),
        }
        found = task.metrics(model, (x.repeat(400, 1),))
    for name, exact in expected.items():
        each = found[name].unflatten(0, (400, 5))
        assert ((each.mean(0) - exact).abs() <= 5 * each.std(0) / 20).all(), name
    assert (found["reward"].std() > 0).all()


def test_a_reference_at_the_start_is_the_policy_before_training():
    """There the divergence and its gradient are 0, and the reference stays where it was when the policy moves."""
    _, model, x = start("sequence_policy[hidden=4,beta=0.3,reference=start]")
    model.reference.load_state_dict(model.policy.state_dict())
    _, plain, _ = start("sequence_policy[hidden=4]")
    exact = load_estimator("exact")

    def objective(which):
        found = exact(which(x))
        return found.item(), torch.autograd.grad(found, list(which.policy.parameters()))

    (ours, slopes), (theirs, expected) = objective(model), objective(plain)
    assert ours == pytest.approx(theirs)
    torch.testing.assert_close(slopes, expected)
    with torch.no_grad():
        for which in (model, plain):
            which.policy.layers[0].weight += 0.5
    assert objective(model)[0] > objective(plain)[0] + 0.01
    assert not any(p.requires_grad for p in model.reference.parameters())


def test_memory_grows_with_samples_steps_and_tokens_like_that_of_the_step_by_hand():
    """Twice the samples, steps or tokens add at most 1.9 times the bytes that they add to the step by hand."""

    def peak(hand, samples=8, steps=4, tokens=200):
        task = load_task("sequence_policy", steps=steps, tokens=tokens, modulus=8)
        model, (x,) = task.model(), task.splits().train
        estimator = load_estimator("rloo", samples=samples).prepare(model(x))
        loss = (lambda: by_hand(model, x.argmax(-1), samples)) if hand else (lambda: estimator(model(x)))
        loss().backward()
        return allocated_peak(lambda: loss().backward(), torch.device("cpu"))

    for twice in ({"samples": 16}, {"steps": 8}, {"tokens": 400}):
        ours, hand = (peak(way, **twice) - peak(way) for way in (False, True))
        assert 0 < ours <= 1.9 * hand, (twice, ours, hand)


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


@pytest.mark.parametrize("option", ["steps=0", "tokens=0", "modulus=1", "beta=-1.0", "attempts=0"])
def test_sizes_that_cannot_be_are_refused(option):
    """A policy without steps, tokens or two prompts, or with a negative weight, is refused with what was received."""
    with pytest.raises(ValueError, match=option):
        load_task(f"sequence_policy[{option}]")
