import itertools
import math

import pytest
import torch

from estbench import load_estimator, load_task
from estbench.testing.tasks import check_task


def length(x, order):
    """The length of a closed tour, in plain Python."""
    stops = [x[i].tolist() for i in order]
    return sum(math.dist(one, other) for one, other in zip(stops, stops[1:] + stops[:1], strict=True))


def test_it_is_a_task():
    """The data stay the same, the program broadcasts, and a gradient reaches every parameter."""
    check_task(load_task("travelling_salesman[hidden=8]"))


def test_all_tours_of_three_cities_are_equally_long():
    """The exact gradient of the expected length is 0 there."""
    torch.manual_seed(0)
    task = load_task("travelling_salesman[cities=3,hidden=4]")
    model, x = task.model(), task.splits().test[0][:2]
    (slope,) = torch.autograd.grad(load_estimator("exact")(model(x)), model.encoder[-1].bias)
    torch.testing.assert_close(slope, torch.zeros(3))


def test_objective_and_metrics_are_those_of_all_orders_by_hand():
    """The expected length, the most probable tour and the shortest equal sums and minima over the 120 orders."""
    torch.manual_seed(0)
    task = load_task("travelling_salesman[hidden=8]")
    model, x = task.model().double(), task.splits().test[0][:4].double()
    found, total = task.metrics(model, (x,)), 0.0
    for number, (row, cities) in enumerate(zip(model.encoder(x.flatten(1)), x, strict=True)):
        lengths = {}
        for order in itertools.permutations(range(5)):
            logs = sum(row[order[j]] - row[list(order[j:])].logsumexp(0) for j in range(5))
            lengths[order] = length(cities, order)
            total += logs.exp().item() * lengths[order] / len(x)
        likely = tuple(row.argsort(descending=True).tolist())
        assert found["tour"][number].item() == pytest.approx(lengths[likely])
        assert found["over_shortest"][number].item() == pytest.approx(lengths[likely] / min(lengths.values()))
    assert load_estimator("exact")(model(x)).item() == pytest.approx(total)


@pytest.mark.parametrize("options", [{"cities": 2}, {"cities": 9}, {"batch_size": 0}])
def test_impossible_sizes_are_refused(options):
    """The message says what was received."""
    with pytest.raises(ValueError, match="needs 3 to 8 cities"):
        load_task("travelling_salesman", **options)
