import functools
import re

import pytest
import torch

from estbench import Estimator, load_estimator, load_task
from estbench.core.program import draw, run
from estbench.engine.base import Bench, MeasurementError
from estbench.engine.profiling import timing
from estbench.engine.profiling.counting import Evaluations, flops
from estbench.engine.profiling.resident_memory import resident_peak
from estbench.measures.metrics import BUILT_IN
from estbench.measures.speed import PARTS, Speed
from estbench.runtime.precision import arithmetic

MEGABYTES = 100


class Hungry(Estimator):
    """Takes 100 MB for a moment."""

    unbiased = False
    differentiates = False
    paper = ""

    def evaluations(self, nodes):
        return 1

    def forward(self, program):
        cost, sites = self.interpret(program, draw)
        held = torch.ones(MEGABYTES * 2**20 // 4)
        return cost.mean() + 0 * held.sum() + 0 * sum(site.node.logits.sum() for site in sites.values())


class Inexact(Hungry):
    """Fails where matrix products are exact."""

    def forward(self, program):
        product = torch.full((2, 2), 1 / 3) @ torch.full((2, 2), 1 / 3)
        assert (product - 2 / 9).abs().max() > 1e-4, "an exact product"
        return super().forward(program)


def bench(task):
    made = load_task(task)
    baseline = functools.partial(load_estimator, made.baseline)
    return Bench(made, 0, torch.device("cpu"), torch.float32, baseline, None)


def rows(task, makers, **options):
    found = Speed(blocks=6, seconds=0.0005, **options).rows(bench(task), makers)
    return {(key, row.metric): row for key, row in found}


def test_parts_of_a_call_are_told_apart(monkeypatch):
    """Each part has the mean of its own seconds over the calls."""
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def lasting(*durations):
        remaining = list(durations)

        def part():
            now[0] += remaining.pop(0)

        return part

    found = timing.seconds([lasting(1.0, 3.0), lasting(10.0, 20.0)], 2, torch.device("cpu"))
    assert found.tolist() == [2.0, 15.0]


def test_a_step_has_its_parts_its_counts_and_the_clock():
    """Forward, backward and optimiser make the step; threads are counted; a ratio of a baseline to itself is near 1."""
    found = rows("toy[units=5]", {"rloo": functools.partial(load_estimator, "rloo")})
    step = found["rloo", "step_time"].value
    parts = [found["rloo", part].value for part in PARTS]
    assert all(0 < part < step for part in parts)
    assert 0.5 * step < sum(parts) < 1.5 * step
    assert found["rloo", "forward_time_ratio"].low <= 1.5
    assert found["rloo", "threads"].value == torch.get_num_threads()
    assert ("rloo", "clock") in found


def test_the_report_knows_every_figure():
    """Each value is a column of the report, or belongs to one: its quartiles and its ratio to the baseline."""
    known = {metric.column for own in BUILT_IN.declared.values() for metric in own if metric.show != "none"}
    found = {metric for _, metric in rows("toy", {"rloo": functools.partial(load_estimator, "rloo")})}
    assert {re.sub("_(q25|q75|ratio)$", "", metric) for metric in found} <= known


@pytest.mark.parametrize("name", ["rloo", "disarm", "rebar", "gumbel_softmax", "exact"])
def test_evaluations_are_counted_as_made(name):
    """Two nodes: what is counted from outside is what the estimator declares."""
    task = load_task("sigmoid_belief_net")
    model = task.model()
    program = model(*next(task.minibatches(task.splits().train, torch.Generator())))
    estimator, count = load_estimator(name), Evaluations()
    estimator.prepare(program)
    estimator(count.of(program))
    nodes = [site.node for site in run(program, draw)[1].values()]
    assert count.made == estimator.evaluations(nodes)


def test_operations_are_those_of_the_matrix_products():
    """A product of 2x3 and 3x4, forward and once backward: 2 * 2 * 3 * 4 each."""
    x, w = torch.ones(2, 3), torch.ones(3, 4, requires_grad=True)
    assert flops(lambda: (x @ w).sum().backward()) == 2 * 48


def test_both_peaks_of_memory_see_what_an_estimator_takes():
    """An estimator that holds 100 MB for a moment shows them, in the allocator and in a fresh process of its own."""
    found = rows("toy[units=5]", {"hungry": Hungry}, resident=True)
    for metric in ("peak_memory", "peak_resident"):
        assert found["hungry", metric].value / 2**20 == pytest.approx(MEGABYTES, rel=0.1)


def test_a_fresh_process_computes_like_the_run_that_it_is_of():
    """Its matrix products are rounded in a run with bf16, and in no other."""
    with arithmetic("cpu", "bf16"):
        found = rows("toy[units=5]", {"inexact": Inexact}, resident=True)
    assert found["inexact", "peak_resident"].value / 2**20 == pytest.approx(MEGABYTES, rel=0.1)
    with pytest.raises(MeasurementError, match="an exact product"):
        resident_peak(functools.partial(bench, "toy[units=5]"), Inexact)


def test_a_fresh_process_that_fails_costs_nothing_else():
    """What cannot be sent to another process is a row that says so; times are there all the same."""
    found = rows("toy[units=5]", {"rloo": lambda: load_estimator("rloo")}, resident=True)
    assert found["rloo", ""].status == "failed"
    assert "pickle" in found["rloo", ""].error
    assert found["rloo", "step_time"].value > 0
