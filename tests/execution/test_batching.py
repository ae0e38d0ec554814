"""Which cells are measured together, and what comes of them in a store."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)
from typer.testing import CliRunner

from estbench.cli.main import app
from estbench.errors import UserError
from estbench.execution.batching import CPU_PARAMETERS, Ensembles
from estbench.execution.cell_runner import CellRunner
from estbench.execution.executors.base import Failure, Job
from estbench.execution.executors.inline import Inline
from estbench.execution.executors.local import Local
from estbench.execution.runner import CellWork, run
from estbench.plugins.spec import Spec
from estbench.runtime.precision import arithmetic
from estbench.store.store import Store
from tests.support.plans import plan_of

SUITE = {
    "tasks": ["toy[learning_rate=0.01,0.1]", "toy[units=2]"],
    "estimators": ["gumbel_softmax[temperature=0.5,1.0]", "rloo[samples=2,3]"],
    "measures": [
        "training[steps=4,evaluations=2]",
        "gradient[replicates=64,after=0]",
        "speed[blocks=6,seconds=0.0001]",
    ],
    "seeds": 2,
    "device": "cpu",
}


def plan(**changes):
    return plan_of({**SUITE, **changes})


def grouped(found, most, workers=1, parameters=0):
    jobs = [Job(cell, entry) for cell, entry in found.entries.items()]
    return Ensembles(most).group(jobs, workers, found.plugins, lambda _: parameters)


def sizes(jobs):
    return sorted(len(job.singles) for job in jobs)


def results(found, folder, executor, **options):
    """The rows of each cell, by its name."""
    work = CellWork(found.plugins, folder)
    done = {cell: result for cell, result, _ in run(found, Store(folder), executor, work, **options)}
    return {entry.name: done[cell].rows for cell, entry in found.entries.items()}


def test_cells_that_differ_in_seeds_and_numbers_are_measured_together():
    """Seeds, learning rates and temperatures may differ; sizes, other measures and other tasks may not."""
    cells = plan()
    jobs = grouped(cells, 100)
    together = [job for job in jobs if job.along]
    # two learning rates, two temperatures and two seeds; without the other temperature; of the other task without rates
    assert sizes(together) == [2, 2, 4, 4, 4, 8]
    assert {single.cell for job in jobs for single in job.singles} == set(cells.cells)
    assert all(job.cell.measure.name == "training" for job in together)
    for job in together:
        assert (
            len({(single.cell.estimators[0].name, single.cell.task.options.get("units")) for single in job.singles})
            == 1
        )


def test_how_many_are_measured_together():
    """None if off, at most as many as asked for; on a processor all workers stay busy and large models stay alone."""
    cells = plan(measures=["training"], tasks=["toy"], estimators=["rloo"], seeds=20)
    assert sizes(grouped(cells, 1)) == [1] * 20
    assert sizes(grouped(cells, 8)) == [6, 7, 7]
    assert sizes(grouped(cells, None)) == [20]
    assert sizes(grouped(cells, None, workers=3)) == [6, 7, 7]
    assert sizes(grouped(cells, None, workers=0)) == [1] * 20
    assert sizes(grouped(cells, None, workers=10)) == [1] * 20
    assert sizes(grouped(cells, None, parameters=CPU_PARAMETERS + 1)) == [1] * 20
    assert sizes(grouped(cells, 8, parameters=CPU_PARAMETERS + 1)) == [6, 7, 7]
    on_gpu = dataclasses.replace(cells, cells=tuple(dataclasses.replace(cell, device="cuda") for cell in cells.cells))
    assert sizes(grouped(on_gpu, None, parameters=10**6)) == [20]


@pytest.mark.parametrize("text", ["", "0", "-1", "many", "1.5"])
def test_another_size_of_ensembles_is_refused(text):
    """The message says what is taken and what was received, and the command exits with 2."""
    with pytest.raises(UserError, match=f"auto, off, or how many replicas at most; got '{text}'"):
        Ensembles.of(text)
    assert isinstance(CliRunner().invoke(app, ["compare", "--ensemble", text]).exception, UserError)


def test_the_size_of_a_model_is_counted():
    """A toy of two units has two parameters; what cannot be made is too large."""
    found = plan(tasks=["toy[units=2]"])
    cell, parameters = found.cells[0], CellRunner(found.plugins).parameters
    assert parameters(cell) == 2
    assert parameters(dataclasses.replace(cell, task=Spec("toy", {"units": -1}))) > CPU_PARAMETERS


@pytest.mark.parametrize("executor", [Inline(), pytest.param(Local(2), marks=pytest.mark.long)])
def test_the_store_holds_single_cells(executor, tmp_path):
    """Keys, rows and failures are those of cells measured alone; only the number of replicas tells."""
    cells = plan(
        measures=["training[steps=4,evaluations=2]"], estimators=["rloo", "arsm", "gumbel_softmax[temperature=0.5,1.0]"]
    )
    alone = results(cells, tmp_path / "alone", Inline())
    together = results(cells, tmp_path / "together", executor, ensembles=Ensembles(100))
    assert {path.name for path in Store(tmp_path / "alone").files()} == {
        path.name for path in Store(tmp_path / "together").files()
    }
    for name, rows in alone.items():
        own = together[name]
        assert set(own["replicas"]) == (
            {1} if set(own["status"]) == {"not applicable"} else {2, 4, 8} & set(own["replicas"])
        )
        same = ["task", "estimator", "params", "seed", "metric", "step", "n", "status", "error"]
        assert own[same].equals(rows[same])
        assert own["value"].to_list() == pytest.approx(rows["value"].to_list(), rel=1e-5, nan_ok=True)
    work = CellWork(cells.plugins, tmp_path)
    assert all(cached for *_, cached in run(cells, Store(tmp_path / "together"), Inline(), work))


class DiesOfMany(Inline):
    """An executor whose processes end where several cells are measured together."""

    def run(self, jobs, work):
        for job in jobs:
            if job.along:
                yield job, Failure("its worker process died")
            else:
                yield from super().run([job], work)


def test_an_ensemble_that_ends_its_process_is_measured_cell_by_cell(tmp_path):
    """What is too much for a process together may do alone: no cell fails for its neighbours."""
    cells = plan(measures=["training[steps=2]"], tasks=["toy"], estimators=["rloo"], seeds=3)
    found = results(cells, tmp_path, DiesOfMany(), ensembles=Ensembles(100))
    assert {status for rows in found.values() for status in rows["status"]} == {"ok"}


def elbo(dtype):
    """The test ELBO of a short training."""
    cells = plan(
        tasks=["vae[units=20,optimizer=adam]"],
        estimators=["rloo"],
        measures=["training[steps=200]"],
        seeds=1,
        dtype=dtype,
    )
    (cell,) = cells.cells
    rows = CellWork(cells.plugins, Path("unused"))(Job(cell, cells.entries[cell])).rows
    assert set(rows["dtype"]) == {dtype}
    return rows[(rows["metric"] == "elbo_test") & (rows["step"] == 200)].iloc[0]


def test_rounded_matrix_products_leave_the_elbo_within_its_interval(tmp_path, monkeypatch):
    """It is another number, but within the 95 % interval of single precision."""
    monkeypatch.chdir(tmp_path)
    exact, rounded = elbo("float32"), elbo("bf16")
    assert rounded["value"] != exact["value"]
    assert exact["low"] < rounded["value"] < exact["high"]


def test_kinds_of_numbers_have_keys_of_their_own():
    """A result in one is never taken for that in another."""
    names = [entry.name for dtype in ("float32", "tf32", "bf16") for entry in plan(dtype=dtype).entries.values()]
    assert len(set(names)) == len(names)


def test_matrix_products_are_exact_unless_asked_for_otherwise():
    """Inside a cell products and convolutions are those of its dtype, whatever was set; afterwards it is set again."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    for dtype, precision, convolutions in (
        ("float32", "highest", False),
        ("tf32", "high", True),
        ("bf16", "highest", False),
    ):
        with arithmetic("cpu", dtype):
            assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == (precision, convolutions)
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == before


PRODUCTS = {
    "linear": lambda a: F.linear(a, a),
    "at": lambda a: a @ a,
    "einsum": lambda a: torch.einsum("ij,jk->ik", a, a),
    "addmm": lambda a: torch.addmm(a, a, a),
    "convolution": lambda a: F.conv2d(a[None, None], a[None, None, :3, :3]),
    "vmap": lambda a: torch.vmap(lambda row: row @ a)(a),
    "backward": lambda a: torch.autograd.grad((each := a.clone().requires_grad_()).matmul(a).square().sum(), each)[0],
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_bf16_rounds_operands_and_results_of_matrix_products_alone(name):
    """Errors are of the size of its last bit, 2^-9, results are float32, and sums and float64 stay exact."""
    torch.manual_seed(0)
    a = torch.rand(64, 64)
    exact = PRODUCTS[name](a.double())
    with arithmetic("cpu", "bf16"):
        rounded, double, total = PRODUCTS[name](a), PRODUCTS[name](a.double()), a.sum()
    assert rounded.dtype == torch.float32
    assert 2e-4 < (rounded.double() - exact).norm() / exact.norm() < 2**-8
    torch.testing.assert_close(double, exact, rtol=0, atol=0)
    torch.testing.assert_close(total, a.sum(), rtol=0, atol=0)


def test_flags_that_a_plugin_set_by_newer_names_do_no_harm():
    """Torch refuses to tell them by their older names; a cell is measured all the same, as exactly as it asks for."""
    try:
        before = torch.backends.cuda.matmul.fp32_precision
    except AttributeError:
        pytest.skip("this torch has no newer names")
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        with arithmetic("cpu", "float32"):
            assert torch.backends.cuda.matmul.fp32_precision == "ieee"
    finally:
        torch.backends.cuda.matmul.fp32_precision = before
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = True


@pytest.mark.parametrize(
    ("task", "name", "pays"),
    [("vae", "disarm", True), ("vae", "gumbel_rao", False), ("toy", "rloo", True), ("vae", "unordered_set", True)],
)
def test_what_is_slower_together_is_trained_alone(task, name, pays, tmp_path):
    """Where nobody has asked for a number: a step of large operations, by an estimator of many samples for instance."""
    cells = plan(measures=["training[steps=2,evaluations=1,samples=0]"], tasks=[task], estimators=[name], seeds=4)
    (job,) = grouped(cells, None)
    for each, replicas in ((job, 4 if pays else 1), (dataclasses.replace(job, auto=False), 4)):
        found = CellWork(cells.plugins, tmp_path / str(each.auto))(each)
        assert {int(count) for result in found for count in result.rows["replicas"]} == {replicas}
        assert not any(result.about["note"] for result in found)
