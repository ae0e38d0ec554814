"""Points along training runs, and replicates until intervals are narrow enough."""

import dataclasses
import functools

import pytest
import torch

from estbench import load_estimator, load_task
from estbench.engine.base import Bench
from estbench.engine.moments import reference, trajectory
from estbench.engine.moments.gradient_metrics import compared, relative_half_width
from estbench.engine.moments.moments import BATCHES, Moments
from estbench.engine.moments.stopping import Replication
from estbench.families.score_function import ScoreFunction
from estbench.measures.gradient import Gradient
from estbench.store.cell_file import Entry
from estbench.store.checkpoints import Checkpoints
from estbench.store.store import Store
from tests.support.sweeps import sweep

TASK = "vae[units=4,batch_size=40]"


def bench(name=TASK):
    task = load_task(name)
    baseline = functools.partial(load_estimator, task.baseline)
    return Bench(task, 0, torch.device("cpu"), torch.float32, baseline, lambda m: load_estimator("exact", samples=m))


def rows(measure, where, name):
    made = {name: functools.partial(load_estimator, name)}
    return {(row.metric, row.step): row for _, row in measure.rows(where, made)}


def steps(found, metric):
    return sorted(step for name, step in found if name == metric)


def parameters(model):
    return torch.nn.utils.parameters_to_vector(model.parameters())


def test_points_are_evenly_spaced_with_both_ends():
    """Of 300 steps 2 points are the ends and 4 are thirds; of few steps each is measured once."""
    assert trajectory.stops(300, 2) == [0, 300]
    assert trajectory.stops(300, 4) == [0, 100, 200, 300]
    assert trajectory.stops(3, 10) == [0, 1, 2, 3]
    assert trajectory.stops(0, 5) == [0]


@pytest.mark.parametrize("name", ["rloo", "relax"])
def test_many_points_are_those_of_one_run(name):
    """What is measured at the end is the same however many points are measured on the way there."""
    few, many = (rows(Gradient(64, 64, after=12, points=p, groups="logits"), bench(), name) for p in (2, 4))
    assert steps(many, "variance/logits") == [0, 4, 8, 12]
    assert steps(many, "bias/logits") == [0, 4, 8, 12]
    for step in (0, 12):
        assert many["variance/logits", step] == few["variance/logits", step]


def test_no_point_is_trained_anew():
    """Twelve steps of training are twelve steps of its optimiser, whatever is measured on the way."""
    where, taken = bench(), []
    with pytest.MonkeyPatch.context() as patch:
        step = torch.optim.SGD.step
        patch.setattr(torch.optim.SGD, "step", lambda *a, **k: taken.append(1) or step(*a, **k))
        rows(Gradient(64, 64, after=12, points=4, groups="logits"), where, "rloo")
        assert len(taken) == 12
        # of what learns nothing the common run is there already
        rows(Gradient(64, 64, after=12, points=4, groups="logits"), where, "disarm")
    assert len(taken) == 12


def test_models_along_an_own_run_are_those_of_training_with_the_estimator():
    """Own runs start alike and see the same minibatches; the baseline's own run is not another estimator's."""
    where, ends = bench(), {}
    for name in ("rloo", "gumbel_softmax"):
        estimator = load_estimator(name)
        models = list(trajectory.own(where, [0, 5, 10], estimator))
        assert torch.equal(parameters(models[0]), parameters(where.model()))
        ends[name] = parameters(models[-1])
        # by hand
        model, trainer = where.model(), None
        trainer = where.task.trainer(model, estimator)
        for step, batch in zip(range(10), where.minibatches(), strict=False):
            where.sow("own", step, where.cell)
            trainer.zero_grad()
            estimator(model(*batch)).backward()
            trainer.step()
        assert torch.equal(parameters(model), ends[name])
    assert not torch.equal(ends["rloo"], ends["gumbel_softmax"])


def test_own_points_have_names_of_their_own():
    """Both runs are measured at the same steps, and no value of one can be taken for one of the other."""
    found = rows(Gradient(64, 64, after=6, points=3, along="both", groups="logits"), bench(), "nvil")
    assert steps(found, "variance/logits") == steps(found, "own/variance/logits") == [0, 3, 6]
    common = rows(Gradient(64, 64, after=6, points=3, groups="logits"), bench(), "nvil")
    assert {key: row for key, row in found.items() if not key[0].startswith("own/")} == common
    own = rows(Gradient(64, 64, after=6, points=3, along="own", groups="logits"), bench(), "nvil")
    assert all(metric.startswith("own/") for metric, _ in own)
    assert own["own/variance/logits", 6] == found["own/variance/logits", 6]
    assert own["own/variance/logits", 6].value != found["variance/logits", 6].value


class Explodes(ScoreFunction):
    """An estimator that loses the parameters."""

    unbiased = False
    paper = ""

    def baseline(self, name, node, cost):
        return torch.full_like(cost, float("inf"))


def test_a_run_that_diverges_has_the_points_before_it():
    """Parameters that are no longer finite are a failure with the step, and no value."""
    measure, made = Gradient(64, 64, after=4, points=3, along="both", groups="logits"), {"explodes": Explodes}
    found = {(row.metric, row.step): row for _, row in measure.rows(bench(), made)}
    failed = [row for row in found.values() if row.status == "failed"]
    assert [(row.metric, row.step) for row in failed] == [("own/variance", 2)]
    assert failed[0].error == "training diverged: parameters are not finite after 2 steps"
    assert steps(found, "evaluations") == [0, 2, 4]


def simulated(n, width=0.1):
    values = torch.linspace(1 - width, 1 + width, BATCHES, dtype=torch.float64) if width else torch.ones(BATCHES)
    return {"logits": Moments(n, torch.zeros(BATCHES, 1), values, 1e-7)}


def drawn(replication, widths, known=None):
    """The numbers of replicates that were added up to, for widths of the interval by number."""
    asked = []

    def add(goal, _):
        asked.append(goal)
        return simulated(goal, widths(goal))

    return asked, replication.draw(add, lambda parts: parts.values(), known or {})


def test_replicates_double_until_the_interval_is_narrow_enough_or_the_most_is_reached():
    """They stop at the first goal with the precision; at the most where it is never reached; at once without one."""
    narrow = {64: 0.4, 128: 0.2, 256: 0.1, 512: 0.05}.get
    precision = relative_half_width(simulated(256, 0.1)["logits"]) * 1.01
    asked, found = drawn(Replication(64, precision, 10_000), narrow)
    assert asked == [64, 128, 256]
    assert found["logits"].n == 256
    assert drawn(Replication(64, 1e-6, 300), lambda _: 0.1)[0] == [64, 128, 256, 300]
    assert drawn(Replication(64), lambda _: 0.1)[0] == [64]
    # where batches agree, few are enough
    assert drawn(Replication(64, 0.05, 10_000), lambda _: 0.0)[0] == [64]
    # but not where the moments are not resolved, whatever their interval says
    add, judged = (lambda goal, _: simulated(goal, 0.0)), lambda parts: parts.values()
    found = Replication(64, 0.05, 10_000).draw(add, judged, {}, lambda parts: parts["logits"].n >= 256)
    assert found["logits"].n == 256


def test_the_most_can_be_raised_later():
    """Ended by their number, replicates go on to the goals of one go; ended by the precision, they stay."""
    replication = Replication(64, 0.01, 1024)
    assert drawn(replication, lambda _: 0.1, simulated(304))[0] == [512, 1024]
    assert drawn(replication, lambda _: 0.1, simulated(256, 0.0))[0] == []
    assert drawn(replication, lambda _: 0.1, simulated(256))[0] == [512, 1024]


def stopped(replication):
    """The interval of the variance of a normal coordinate of variance 1, where replicates stop."""
    values = torch.randn(BATCHES, replication.limit // BATCHES, dtype=torch.float64)

    def add(goal, _):
        used = values[:, : goal // BATCHES]
        return {"logits": Moments(goal, used.mean(1, keepdim=True), used.var(1), 1e-16)}

    found = replication.draw(add, lambda parts: parts.values(), {})["logits"]
    return compared(found, None).variance()


@pytest.mark.parametrize("precision", sweep([0.1, 0.05], [0.1]))
def test_intervals_cover_the_truth_where_replicates_stop(precision):
    """Over 1,000 simulations, doubling from 512 until the precision is reached, 95 % intervals cover 93 to 97 %."""
    torch.manual_seed(0)
    intervals = [stopped(Replication(512, precision, 2**14)) for _ in range(1000)]
    assert 930 <= sum(interval.low <= 1 <= interval.high for interval in intervals) <= 970


def interrupted(folder, points):
    """The rows of a measurement of four points that keeps its state after each; it is given up after some."""
    where = dataclasses.replace(bench("toy[units=3]"), journal=Checkpoints(Store(folder), Entry("k", {}), 0))
    made = {"relax": functools.partial(load_estimator, "relax")}
    found = {}
    for _, row in Gradient(64, 64, after=6, points=4, groups="logits").rows(where, made):
        if row.step not in {step for _, step in found} and len({step for _, step in found}) == points:
            break
        found[row.metric, row.step] = row
    return found


def test_a_killed_measurement_goes_on_with_the_points_that_are_left(tmp_path):
    """Of four points two were measured: only the others are drawn, and the numbers are those of one go."""
    interrupted(tmp_path / "killed", 2)
    drawn_anew = []
    with pytest.MonkeyPatch.context() as patch:
        engine = reference.moments
        patch.setattr(reference, "moments", lambda *a, **k: drawn_anew.append(a[3].args[0]) or engine(*a, **k))
        resumed = interrupted(tmp_path / "killed", 4)
    assert drawn_anew.count("estimate") == 2
    # values that are not known are not equal to themselves
    assert repr(resumed) == repr(interrupted(tmp_path / "whole", 4))


def adaptive(folder, most):
    where = dataclasses.replace(
        bench("toy[units=5]"), journal=Checkpoints(Store(folder), Entry("k", {"most": most}), 0)
    )
    found = rows(Gradient(64, 64, after=0, groups="logits", precision=0.05, max_replicates=most), where, "rloo")
    return {key: (row.value, row.n) for key, row in found.items()}


def test_precision_is_reached_and_said(tmp_path):
    """Rows tell how many replicates it took; numbers are those of one go where the most was raised in between."""
    short = adaptive(tmp_path / "more", 500)
    assert short["precision_reached/logits", 0] == (0.0, 512)
    more, once = adaptive(tmp_path / "more", 2**16), adaptive(tmp_path / "once", 2**16)
    assert once["precision_reached/logits", 0][0] == 1.0
    width, n = once["precision/logits", 0]
    assert width <= 0.05
    assert 500 < n < 2**16
    assert more.keys() == once.keys()
    for key, (value, n) in once.items():
        assert more[key] == (pytest.approx(value, rel=1e-5, abs=1e-12), n)


def test_without_a_precision_nothing_is_said_of_it():
    """The default takes as many replicates as are asked for."""
    found = rows(Gradient(64, 64, after=0, groups="logits"), bench("toy"), "rloo")
    assert not any(metric.startswith("precision") for metric, _ in found)
    assert found["variance/logits", 0].n == 64


def test_replicates_in_flight_are_told():
    """A smaller budget of memory has fewer of them at once, and the same number in all."""
    much, little = (rows(Gradient(256, 64, after=0, groups="logits", budget=b), bench(), "rloo") for b in (2**24, 1))
    assert much["chunk/logits", 0].value > little["chunk/logits", 0].value == 1
    assert much["variance/logits", 0].n == little["variance/logits", 0].n == 256
