"""The groups of gradient entries that are measured."""

import functools

import pytest
import torch

from estbench import load_estimator, load_task
from estbench.engine.base import Bench
from estbench.engine.moments.moments import BATCHES, Moments
from estbench.engine.moments.points import Point
from estbench.engine.moments.variables import Groups, pooled
from estbench.measures.gradient import Gradient


def bench(name, dtype=torch.float32):
    task = load_task(name)
    baseline = functools.partial(load_estimator, task.baseline)
    return Bench(task, 0, torch.device("cpu"), dtype, baseline, lambda m: load_estimator(task.oracle, samples=m))


def initial(where):
    return Point(0, where.model(), next(where.minibatches()))


def rows(measure, where, name):
    made = {name: functools.partial(load_estimator, name)}
    return {(row.metric, row.step): row for _, row in measure.rows(where, made)}


def groups(found):
    return {metric.partition("/")[2] for metric, _ in found if metric.startswith("variance/")}


@pytest.mark.parametrize("name", ["sigmoid_belief_net", "vae[units=3]", "coins"])
def test_groups_have_the_gradient_of_all_their_parameters(name):
    """Each group of parameters has autograd's gradient, those that later layers read as they are sampled too."""
    where = bench(name)
    point, exact = initial(where), load_estimator("exact")
    variables = Groups.of("all").parameters(where, point)
    found = variables.gradient(exact, point.program)()
    assert set(variables.groups) - {"parameters"} == {child for child, _ in point.model.named_children()}
    value = found.pop(variables.value)
    torch.testing.assert_close(value, exact(point.program()).detach().reshape(1))
    for part, own in found.items():
        parameters = [*point.model.get_submodule(part).parameters()]
        expected = torch.autograd.grad(exact(point.program()), parameters)
        torch.testing.assert_close(own, torch.cat([g.flatten() for g in expected]))


def test_nodes_are_told_apart_where_there_are_several():
    """Logits of two layers: the gradient of each is the exact one for its own logits alone."""
    where = bench("sigmoid_belief_net", torch.float64)
    point = initial(where)
    variables = Groups.of("logits").variables(where, point)[0]
    found = variables.gradient(load_estimator("exact"), point.program)()
    assert set(variables.groups) == {"logits", "logits/z1", "logits/z2"}
    # the encoder's bias shifts the logits of every example alike
    bias = dict(point.model.named_parameters())["encoder.0.network.0.bias"]
    (expected,) = torch.autograd.grad(load_estimator("exact")(point.program()), bias)
    torch.testing.assert_close(found["logits/z1"].reshape(-1, len(bias)).sum(0), expected)


def test_moments_of_a_group_are_those_of_its_parts():
    """Means are set side by side, and traces add up."""
    one, two = (Moments(64, torch.full((BATCHES, d), 1.0 * d), torch.full((BATCHES,), 2.0 * d), 1e-7) for d in (2, 3))
    both = pooled([one, two])
    assert both.means.shape == (BATCHES, 5)
    assert both.variances.tolist() == [10.0] * BATCHES


def test_one_go_serves_all_groups():
    """All groups of parameters have the same replicates: their variances add up to that of all together."""
    found = rows(Gradient(64, 64, after=0, groups="all"), bench("sigmoid_belief_net"), "rloo")
    assert groups(found) == {"logits", "logits/z1", "logits/z2", "encoder", "decoder", "prior", "parameters"}
    for whole, parts in (("parameters", ("encoder", "decoder", "prior")), ("logits", ("logits/z1", "logits/z2"))):
        total = sum(found[f"variance/{part}", 0].value for part in parts)
        assert found[f"variance/{whole}", 0].value == pytest.approx(total, rel=1e-9)


def test_every_group_of_an_unbiased_estimator_has_no_bias_against_enumeration():
    """Of encoder, decoder, prior and logits no bias is found, and of straight-through's encoder it is."""
    measure, where = Gradient(2048, 64, after=0, groups="all"), bench("sigmoid_belief_net")
    for name, biased in (("rloo", set()), ("straight_through", {"encoder"})):
        found = rows(measure, where, name)
        for group in ("encoder", "decoder", "prior"):
            assert (found[f"unbiased_p/{group}", 0].value < 1e-4) == (group in biased)
            # an estimate of hard samples is noisy in every group
            assert found[f"variance/{group}", 0].value > 0


def test_every_bias_comes_with_what_tells_whether_it_was_found():
    """At every point and in every group there is a bound, the number of replicates and the test behind it."""
    found = rows(Gradient(64, 64, after=2, along="both", groups="all"), bench("sigmoid_belief_net"), "rloo")
    biases = [(metric, step) for metric, step in found if metric.partition("/")[0] == "bias" or "/bias/" in metric]
    assert len(biases) == 2 * 2 * 7
    for metric, step in biases:
        row = found[metric, step]
        assert 0 <= row.low <= row.value <= row.high < float("inf")
        assert row.high > 0
        assert row.n == 64
        assert 0 <= found[metric.replace("bias", "unbiased_p"), step].value <= 1


def test_a_group_that_samples_make_no_difference_to_is_left_out():
    """With an analytic divergence the prior's gradient is the same whatever is sampled; the decoder's is not."""
    where = bench("vae[units=3,kl=analytic]")
    found = rows(Gradient(64, 64, after=0, groups="all"), where, "rloo")
    assert groups(found) == {"logits", "encoder", "decoder", "parameters"}
    fixed = rows(Gradient(64, 64, after=0, groups="all"), bench("vae[units=3,prior=fixed]"), "rloo")
    assert groups(fixed) == {"logits", "encoder", "decoder", "parameters"}


def test_a_model_without_children_has_its_parameters_together():
    """The toy's only parameters are its logits: both groups have the same gradient."""
    where = bench("toy[units=3]")
    found = rows(Gradient(4096, 64, after=0, groups="all"), where, "rloo")
    assert groups(found) == {"logits", "parameters"}
    logits, parameters = (found[f"variance/{group}", 0] for group in ("logits", "parameters"))
    assert logits.low <= parameters.high and parameters.low <= logits.high
    assert groups(rows(Gradient(64, 64, after=0), where, "rloo")) == {"logits"}


def test_a_group_that_is_not_there_says_so():
    """A name that is neither a child of the model nor one of the defaults is no silence."""
    found = rows(Gradient(64, 64, after=0, groups="logits encodr"), bench("vae[units=3]"), "rloo")
    row = found["variance/encodr", 0]
    assert (row.status, row.error) == (
        "not applicable",
        "the model has no parameters called 'encodr'; its own are encoder, decoder, prior",
    )
    with pytest.raises(ValueError, match="names separated by spaces"):
        Gradient(groups=" ")


def test_variances_are_given_by_coordinate_and_in_logarithms():
    """Per coordinate it is the trace over the number of entries, and its logarithm the natural one."""
    where = bench("toy[units=5]")
    found = rows(Gradient(8192, 64, after=0, groups="logits"), where, "rloo")
    trace, each, log = (found[f"{name}/logits", 0] for name in VARIANCES)
    assert each.value == pytest.approx(trace.value / 5, rel=1e-12)
    assert log.value == pytest.approx(torch.tensor(each.value).log().item(), rel=1e-6)
    assert log.low < log.value < log.high
    assert each.low == pytest.approx(trace.low / 5, rel=1e-12)
    without = rows(Gradient(64, 64, after=0, groups="logits"), where, "exact")
    assert ("log_variance_per_coordinate/logits", 0) not in without


VARIANCES = ("variance", "variance_per_coordinate", "log_variance_per_coordinate")
