import itertools

import pytest
import torch

from estbench import load_estimator, load_task
from estbench.core.program import mean, run
from estbench.testing.tasks import check_task

SMALL = "mixture_of_experts[experts=3,hidden=4]"


def start(spec):
    """A model in float64 with a decided gate, and five examples."""
    torch.manual_seed(0)
    task = load_task(spec)
    model = task.model().double()
    with torch.no_grad():
        model.gate.weight *= 4
        model.experts.outward *= 4
    return task, model, tuple(x[:5].double() for x in task.splits().train)


def by_hand(model, x, y, chosen, *, weighted, balance=1.0):
    """The expected cost of each example in plain Python: over all experts or subsets, by their probabilities."""
    loads = torch.zeros(model.gate.out_features).double()
    logits = (x @ model.gate.weight.T + model.gate.bias).detach()
    found = []
    for row, image, label in zip(logits, x, y, strict=True):
        p = row.softmax(-1)
        subsets = list(itertools.combinations(range(len(p)), chosen))
        chances = torch.stack([row[list(s)].sum() for s in subsets]).softmax(-1)
        total = 0.0
        for subset, chance in zip(subsets, chances, strict=True):
            output = 0
            for j in subset:
                e = (image @ model.experts.inward[j] + model.experts.bias[j, 0]).tanh() @ model.experts.outward[j]
                output = output + (p[j] if weighted else 1 / chosen) * e
            loads[list(subset)] += chance / chosen / len(x)
            total += (chance * -output.log_softmax(-1)[label.argmax()]).item()
        found.append(total)
    penalty = balance * (loads * (loads * len(loads)).log()).sum().item()
    return [cost + penalty for cost in found]


@pytest.mark.parametrize("spec", [SMALL, "mixture_of_experts[experts=4,chosen=2,hidden=3]"])
def test_it_is_a_task(spec):
    """The data stay the same, the program broadcasts, and a gradient reaches every parameter."""
    check_task(load_task(spec))


@pytest.mark.parametrize(("chosen", "weighting"), [(1, "probability"), (1, "none"), (2, "probability"), (2, "none")])
def test_enumeration_is_the_sum_over_experts_by_hand(chosen, weighting):
    """The value of ``exact`` is the sum over all experts, or pairs of experts, in plain Python."""
    _, model, batch = start(f"mixture_of_experts[experts=4,hidden=4,{chosen=},{weighting=}]")
    expected = by_hand(model, *batch, chosen, weighted=weighting == "probability")
    assert load_estimator("exact")(model(*batch)).item() == pytest.approx(sum(expected) / 5)


@pytest.mark.parametrize("weighting", ["probability", "none"])
def test_the_closed_form_is_the_enumeration(weighting):
    """Its value and its gradients of all parameters are those of ``exact``, both parts of the gate's among them."""
    task, model, batch = start(f"mixture_of_experts[experts=3,hidden=4,{weighting=}]")
    weights = list(model.parameters())
    exact = load_estimator("exact")(model(*batch))
    closed = run(task.closed_form(model, batch), mean)[0].mean()
    torch.testing.assert_close(closed, exact)
    for ours, theirs in zip(torch.autograd.grad(closed, weights), torch.autograd.grad(exact, weights), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_metrics_of_the_load():
    """Equal probabilities use all experts; a gate that is certain of one expert for all examples uses 1."""
    for spec, chosen in ((SMALL, 1), ("mixture_of_experts[experts=3,chosen=2,hidden=4]", 2)):
        task, model, batch = start(spec)
        with torch.no_grad():
            model.gate.weight.zero_()
            model.gate.bias.zero_()
            found = task.metrics(model, batch)
            assert found["experts_used"].tolist() == pytest.approx([3] * 5)
            assert found["experts_per_example"].tolist() == pytest.approx([3] * 5)
            model.gate.bias[0] = 100.0
            assert task.metrics(model, batch)["experts_used"][0].item() == pytest.approx({1: 1, 2: 2 * 2**0.5}[chosen])
            assert set(found["accuracy"].tolist()) <= {0.0, 1.0}


def test_without_balance_the_exact_gradient_leaves_one_expert():
    """After 250 steps fewer than 2 of 4 experts are in use; with balance, more than 3."""
    used = []
    for balance in (0.0, 1.0):
        torch.manual_seed(0)
        task = load_task("mixture_of_experts[experts=4,hidden=8,learning_rate=0.01]", balance=balance)
        model, batches = task.model(), task.minibatches(task.splits().train, torch.Generator().manual_seed(0))
        trainer = task.trainer(model, load_estimator("exact"))
        for _, batch in zip(range(250), batches, strict=False):
            trainer.zero_grad()
            run(task.closed_form(model, batch), mean)[0].mean().backward()
            trainer.step()
        with torch.no_grad():
            used.append(task.metrics(model, task.splits().valid)["experts_used"][0].item())
    assert used[0] < 2
    assert used[1] > 3


@pytest.mark.parametrize("spec", ["mixture_of_experts[experts=4]", "mixture_of_experts[experts=4,chosen=2]"])
def test_training_with_rloo_learns_to_classify(spec):
    """After 150 steps of RLOO with 4 samples more than three quarters of the validation images are right."""
    torch.manual_seed(0)
    task = load_task(spec, learning_rate=0.01)
    model, batches = task.model(), task.minibatches(task.splits().train, torch.Generator().manual_seed(0))
    estimator = load_estimator("rloo[samples=4]").prepare(model(*next(batches)))
    trainer = task.trainer(model, estimator)
    for _, batch in zip(range(150), batches, strict=False):
        trainer.zero_grad()
        estimator(model(*batch)).backward()
        trainer.step()
    with torch.no_grad():
        assert task.metrics(model, task.splits().valid)["accuracy"].mean() > 0.75


@pytest.mark.parametrize("option", ["experts=1", "chosen=8", "hidden=0", "batch_size=0", "balance=-1.0"])
def test_sizes_that_cannot_be_are_refused(option):
    """The message says what was received."""
    with pytest.raises(ValueError, match=option):
        load_task(f"mixture_of_experts[{option}]")
