"""All built-in plugins on a GPU."""

import pytest
import torch

from estbench import load_estimator
from estbench.engine.base import Member
from estbench.engine.profiling import timing
from estbench.measures.gradient import Gradient
from estbench.measures.speed import Speed
from estbench.measures.training import Training
from estbench.plugins.options import options_of
from estbench.plugins.registry import discover
from estbench.runtime.precision import arithmetic
from estbench.testing import run_checks
from tests.support.benches import ESTIMATORS, TASKS, bench

pytestmark = pytest.mark.cuda


@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_estimator_has_the_mean_gradient_that_it_has_on_a_cpu(name):
    """On every program of the kit that it accepts, as far as 8,192 replicates tell them apart."""
    narrow = "[hidden=8]" if "hidden" in options_of(discover("estimator")[name].load()) else ""
    (verdict,) = run_checks(f"{name}{narrow}", only=["devices"])
    assert verdict.verdict == "passed", str(verdict)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_trains_there_from_where_it_starts_on_a_cpu(name):
    """The objective at the start lies in the joint range of both intervals, and a few steps leave it finite."""
    found = []
    for device in ("cpu", "cuda"):
        where = bench(name, device=device)
        (one,) = Training(6, 1, 4, 200, 4).together([Member(where, "rloo", lambda: load_estimator("rloo"))])
        assert one.error is None
        assert not one.note
        objective = f"{where.task.objective}_test"
        found.append(next(row for row in one.rows if row.metric == objective and row.step == 0))
    # an exact one has no width
    width = sum(max(0.0, row.high - row.value) for row in found)
    # more than five deviations of the difference
    assert abs(found[0].value - found[1].value) <= 2 * width + 1e-4 * abs(found[0].value)


def test_precision_is_what_was_asked_for():
    """Products of single precision are exact unless tf32 or bf16 is asked for, and then they are not."""
    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("this GPU has neither tf32 nor bf16")
    a = torch.rand(512, 512, device="cuda")
    exact = a.double() @ a.double()
    errors = {}
    for dtype in ("float32", "tf32", "bf16"):
        with arithmetic("cuda", dtype):
            errors[dtype] = float(((a @ a).double() - exact).norm() / exact.norm())
    assert errors["float32"] < 1e-6 < errors["tf32"] < 1e-3 < errors["bf16"] < 1e-2


@pytest.mark.parametrize("name", ["rloo", "disarm", "relax", "gumbel_softmax"])
def test_measures_run_on_cuda_and_agree_with_the_cpu(name):
    """On CUDA the variance of the gradient lies in the joint range of both intervals."""
    found, makers = [], {name: lambda: load_estimator(name)}
    for device in ("cpu", "cuda"):
        where = bench("sigmoid_belief_net", device=device)
        rows = (row for _, row in Gradient(2048, 64, after=0).rows(where, makers))
        found.append(next(row for row in rows if row.metric == "variance/logits"))
        for measure in (Speed(blocks=6, seconds=0.001), Training(steps=4, evaluations=2)):
            assert all(row.status == "ok" for _, row in measure.rows(where, makers))
    assert found[0].low <= found[1].high and found[1].low <= found[0].high


def test_events_see_the_work_of_a_gpu():
    """On a GPU a part's time is that of its kernels, not of their launch."""
    a = torch.rand(4096, 4096, device="cuda")
    found = timing.seconds([lambda: a @ a, lambda: None], 20, a.device)
    assert found[0] > 20 * found[1] > 0


@pytest.mark.parametrize("dtype", ["bf16", "tf32"])
def test_rounded_matrix_products_leave_the_elbo_within_its_interval(dtype):
    """It is another number, but within the 95 % interval of single precision."""
    found = {}
    for each in ("float32", dtype):
        with arithmetic("cuda", each):
            member = Member(bench("vae[units=20,optimizer=adam]"), "rloo", lambda: load_estimator("rloo"))
            (one,) = Training(200, 1, 0).together([member])
        assert one.error is None
        found[each] = next(row for row in one.rows if row.metric == "elbo_test" and row.step == 200)
    assert found[dtype].value != found["float32"].value
    assert found["float32"].low < found[dtype].value < found["float32"].high
