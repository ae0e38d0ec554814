import itertools

import pytest
import torch

from estbench import load_estimator, load_task
from estbench.testing.tasks import check_task


def start(spec="coverage[hidden=8]", examples=5):
    torch.manual_seed(0)
    task = load_task(spec)
    model = task.model().double()
    return task, model, task.splits().test[0][:examples].double()


def share(model, chosen, weights):
    """The weight of the union of sets over the weight of all elements, in plain Python."""
    union = {e for i in chosen for e in model.members[i].nonzero().flatten().tolist()}
    return sum(weights[e].item() for e in union) / weights.sum().item()


@pytest.mark.parametrize("spec", ["coverage[hidden=8]", "coverage[sets=5,chosen=1,elements=4,density=0.5,hidden=4]"])
def test_it_is_a_task(spec):
    """The data stay the same, the program broadcasts, and a gradient reaches every parameter."""
    check_task(load_task(spec))


def test_the_objective_is_that_of_all_subsets_by_hand():
    """The expected cost of ``exact`` is the sum over all subsets of probability times uncovered weight."""
    _, model, weights = start()
    logits, total = model.encoder(weights), 0.0
    for row, own in zip(logits, weights, strict=True):
        subsets = list(itertools.combinations(range(8), 3))
        masses = torch.stack([row[list(s)].sum() for s in subsets]).softmax(0)
        total += sum(p.item() * (1 - share(model, s, own)) for p, s in zip(masses, subsets, strict=True)) / len(weights)
    assert float(load_estimator("exact")(model(weights)).detach()) == pytest.approx(total)


def test_metrics_are_those_of_the_most_probable_and_the_greedy_choice():
    """Coverage is that of the three sets with the largest logits, and the ratio that to a greedy choice by hand."""
    task, model, weights = start()
    found = task.metrics(model, (weights,))
    for number, (row, own) in enumerate(zip(model.encoder(weights), weights, strict=True)):
        coverage, greedy = share(model, row.topk(3).indices.tolist(), own), []
        for _ in range(3):
            rest = [i for i in range(8) if i not in greedy]
            greedy.append(max(rest, key=lambda i, taken=tuple(greedy), own=own: share(model, (*taken, i), own)))
        assert found["coverage"][number].item() == pytest.approx(coverage)
        assert found["over_greedy"][number].item() == pytest.approx(coverage / share(model, greedy, own))


@pytest.mark.parametrize("options", [{"chosen": 9}, {"chosen": 0}, {"elements": 0}, {"density": 0.0}])
def test_impossible_sizes_are_refused(options):
    """The message says what was received."""
    with pytest.raises(ValueError, match="coverage needs 1 <= chosen <= sets"):
        load_task("coverage", **options)
