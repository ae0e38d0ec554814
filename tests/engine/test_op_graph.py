import numpy as np
import pytest
import torch
from torch import nn
from torch.func import vmap

from estbench.engine.moments.replicates import Replicates
from estbench.engine.op_graph import recorded

EXAMPLE = torch.empty(6)


def draws(function):
    """A function of six replicates."""
    return vmap(lambda _: {"g": function()}, randomness="different")


def same(function):
    """What a function and its graph give at a seed that the graph was not tried at."""
    with torch.no_grad():
        graph = recorded(function, EXAMPLE, 0)
        assert graph is not None
        torch.manual_seed(77)
        results = [function(EXAMPLE)["g"], graph(77)["g"], graph(77)["g"]]
    torch.testing.assert_close(results[1], results[2], rtol=0, atol=0)
    torch.testing.assert_close(results[0], results[1])
    return graph


def operations(graph):
    return graph.code.operations


def test_a_graph_gives_what_the_function_gives_at_every_call():
    """Random numbers are drawn anew, in the same order, and calls leave each other's results alone."""
    layer = nn.Linear(4, 3)
    same(draws(lambda: layer(torch.rand(5, 4)).sigmoid().sub(torch.rand(5, 3)).relu()))


def test_what_never_changes_is_computed_once():
    """Operations on constants are gone from the graph, random numbers never are."""
    weights = torch.rand(4, 3)
    graph = same(draws(lambda: torch.rand(4) @ weights.exp().log1p()))
    assert not any("exp" in name or "log1p" in name for name in operations(graph))
    assert sum("rand" in name for name in operations(graph)) == 1


def test_what_nobody_looks_at_is_left_out():
    """The value of a function whose derivative alone is wanted is not computed."""

    def gradient():
        at = torch.rand(5)
        return torch.func.grad(lambda x: torch.nn.functional.softplus(x).sum())(at)

    names = operations(same(draws(gradient)))
    assert not any(name.startswith("aten.softplus.") for name in names)
    assert any("softplus_backward" in name for name in names)


def test_buffers_are_taken_over_only_after_their_last_use():
    """Results whose inputs, or views of them, are used later are right."""

    def tangled():
        x = torch.rand(4, 4)
        flipped, row = x.t(), x[0]
        y = (x + 1).exp()
        z = y.neg()
        return (y * z).view(-1)[:4] + row + flipped.sum(0) + z.sigmoid()[1] + y[2]

    graph = same(draws(tangled))
    assert any(name.endswith("out") for name in operations(graph))


def test_buffers_are_not_taken_over_where_that_takes_a_copy():
    """What torch has no kernel for that writes where it is told gets memory of its own."""
    names = operations(same(draws(lambda: torch.rand(5).sub(0.5).relu())))
    assert any(name == "aten.relu.default" for name in names)
    assert any(name == "aten.sub.out" for name in names)


@pytest.mark.parametrize("spoiled", ["numpy", "count", "value"])
def test_functions_that_are_more_than_their_operations_have_no_graph(spoiled):
    """Foreign randomness, a state that changes, or a look at values: the function goes on as it is."""
    state = {"calls": 0}
    foreign = np.random.default_rng(0)

    def function():
        state["calls"] += 1
        x = torch.rand(3)
        if spoiled == "numpy":
            return x + foreign.random()
        if spoiled == "count":
            return x * state["calls"]
        return x if x.sum() > 1 else -x

    with torch.no_grad():
        assert recorded(draws(function), EXAMPLE, 0) is None


def test_results_that_are_not_finite_have_no_graph():
    """What cannot be compared is not trusted."""
    with torch.no_grad():
        assert recorded(draws(lambda: torch.rand(3) * float("nan")), EXAMPLE, 0) is None


def test_chunks_are_the_same_side_by_side_and_one_after_the_other():
    """Whatever the number of threads, chunks by graph are those by vmap at the same seeds, in order."""
    layer = nn.Linear(4, 3).requires_grad_(False)

    def function():
        return {"g": layer(torch.rand(4)).sigmoid() + torch.randn(3) + torch.bernoulli(torch.full((3,), 0.3))}

    before, found = torch.get_num_threads(), []
    for threads, chunks in ((1, 1), (1, 1000), (3, 1000)):
        torch.set_num_threads(threads)
        with torch.no_grad(), Replicates(function, 6, chunks) as source:
            found.append(torch.stack([drawn["g"] for drawn in source.draw([(6, seed) for seed in range(8)], dict)]))
        assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    for other in found[1:]:
        torch.testing.assert_close(found[0], other)
