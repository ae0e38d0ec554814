import re

import pytest
import torch

from estbench import Bernoulli
from estbench.core.program import draw, mean, plate, repeat, replay, run


def chain(batch=4):
    """A program of three nodes of which the last depends only on the first."""
    first = Bernoulli(torch.zeros(batch, 2))

    def program(sample):
        a, log_a = sample("a", first)
        b, log_b = sample("b", Bernoulli(a @ torch.ones(2, 3)))
        c, _ = sample("c", Bernoulli(a * 2))
        return a.sum(-1) + b.sum(-1) * c.sum(-1) + log_a + log_b

    return program


def test_a_fair_draw_costs_one_value_per_example():
    """Drawing gives costs in the shape of the batch and the sites in order."""
    cost, sites = run(chain(), draw)
    assert cost.shape == (4,)
    assert list(sites) == ["a", "b", "c"]


def test_repeat_puts_joint_samples_along_one_new_dimension():
    """Nodes that do not depend on a sample and nodes that do both get the samples' dimension once."""
    cost, sites = run(chain(), repeat(draw, 5))
    assert cost.shape == (5, 4)
    assert [site.value.shape for site in sites.values()] == [(5, 4, 2), (5, 4, 3), (5, 4, 2)]


def test_repeated_samples_differ():
    """Joint samples are drawn anew, not copied."""
    torch.manual_seed(0)
    _, sites = run(chain(200), repeat(draw, 2))
    assert not torch.equal(*sites["a"].value)


def test_plate_gives_each_node_a_leading_dimension_of_its_own():
    """The last node's dimension is leftmost, also where it does not depend on the node before."""
    cost, sites = run(chain(), plate(lambda _name, node, _sites: node.enumerate_support()))
    assert cost.shape == (4, 8, 4, 4)
    assert sites["b"].value.shape == (8, 1, 1, 3)
    assert sites["c"].value.shape == (4, 1, 1, 1, 2)


def test_replay_answers_with_the_given_values_and_then_with_the_other_sampler():
    """Named values are taken as they are; the rest comes from the sampler behind."""
    ones = torch.ones(4, 2)
    _, sites = run(chain(), replay({"a": ones}, mean))
    assert torch.equal(sites["a"].value, ones)
    torch.testing.assert_close(sites["b"].value, torch.full((4, 3), 2.0).sigmoid())


@pytest.mark.parametrize("keep", [False, True])
def test_the_score_reaches_the_logits_only_if_it_is_kept(keep):
    """The derivative of log q for its own logits is dropped for exact samples and kept on demand."""
    logits = torch.zeros(1, 2, requires_grad=True)
    cost, _ = run(lambda sample: sample("b", Bernoulli(logits))[1], draw, keep_score=keep)
    (found,) = torch.autograd.grad(cost.sum(), logits, allow_unused=True, materialize_grads=True)
    assert bool(found.any()) == keep


def test_a_name_sampled_twice_is_refused_with_the_reason():
    """Two samples of one name cannot be told apart."""
    node = Bernoulli(torch.zeros(1, 2))

    def program(sample):
        return sample("z", node)[0].sum(-1) + sample("z", node)[0].sum(-1)

    with pytest.raises(ValueError, match="'z' was sampled twice"):
        run(program, draw)


def test_a_program_without_samples_is_refused():
    """There is no gradient to estimate where nothing is sampled."""
    with pytest.raises(ValueError, match="sampled nothing"):
        run(lambda _sample: torch.zeros(3), draw)


SHAPES = {
    "a mean": lambda cost: cost.mean(),
    "over the batch": lambda cost: cost.mean(-1),
    "a dimension kept": lambda cost: cost[..., None],
    "over the samples": lambda cost: cost.mean(0),
    "transposed": lambda cost: cost.movedim(0, -1),
    "per unit": lambda cost: cost[..., None].expand(*cost.shape, 2),
    "a dimension in front": lambda cost: cost[None],
}


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("wrong", SHAPES)
def test_a_cost_of_another_shape_is_refused_with_both_shapes(wrong, keep):
    """Anything but one cost per sample and example is one error that says what was received and what is right."""

    def program(sample):
        return SHAPES[wrong](chain()(sample))

    received = re.escape(str(tuple(SHAPES[wrong](torch.zeros(3, 4)).shape)))
    with pytest.raises(ValueError, match=rf"shape {received} and must have \(3, 4\).*\(\*samples, \*batch\)"):
        run(program, repeat(draw, 3), keep_score=keep)


@pytest.mark.parametrize(
    ("cost", "message"),
    [
        (0.5, "as one tensor; got float"),
        ((torch.zeros(4), torch.zeros(4)), "as one tensor; got tuple"),
        (None, "as one tensor; got NoneType"),
        (torch.zeros(4, dtype=torch.long), "as floating-point numbers; got torch.int64"),
        (torch.zeros(4, dtype=torch.bool), "as floating-point numbers; got torch.bool"),
    ],
)
def test_a_cost_that_is_no_tensor_of_numbers_is_refused(cost, message):
    """Whatever is no tensor of floating-point numbers is refused with its type."""

    def program(sample):
        chain()(sample)
        return cost

    with pytest.raises(ValueError, match=message):
        run(program, draw)


def test_a_cost_may_lack_the_plates_of_samples_that_it_does_not_depend_on():
    """Where each node has a dimension of its own, those of nodes that reach nothing may be missing."""
    node = Bernoulli(torch.zeros(4, 2))

    def program(used):
        return lambda sample: {name: sample(name, node)[0] for name in "ab"}[used].sum(-1)

    for used, shape in (("a", (4, 4)), ("b", (4, 1, 4))):
        cost, _ = run(program(used), plate(lambda _name, node, _sites: node.enumerate_support() + 0 * node.mean))
        assert cost.shape == shape


def test_enumerated_values_stand_once_for_all_that_they_do_not_depend_on():
    """A cost of the last of two layers and the data lacks the first layer's plate; one without data the batch too."""

    def program(data):
        def layers(sample):
            a, _ = sample("a", Bernoulli(torch.zeros(4, 2)))
            return sample("b", Bernoulli(a @ torch.ones(2, 3)))[0].sum(-1) + data

        return layers

    for data, shape in ((torch.zeros(4), (8, 1, 4)), (0.0, (8, 1, 1))):
        cost, _ = run(program(data), plate(lambda _name, node, _sites: node.enumerate_support()))
        assert cost.shape == shape
