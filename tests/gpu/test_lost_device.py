"""A GPU that no longer answers its process: the worker ends, and nothing after it is kept or retried there."""

import functools
import os

import pytest
import torch

from estbench.engine.base import Bench, Member
from estbench.errors import UserError
from estbench.execution import executors
from estbench.execution.cell_runner import CellRunner
from estbench.execution.executors.base import Failure, Job
from estbench.execution.executors.inline import Inline
from estbench.execution.executors.local import Local
from estbench.execution.executors.slurm import _measure as in_slurm_job
from estbench.execution.runner import CellWork
from estbench.measures import training
from estbench.measures.training import Training
from estbench.plugins.spec import Spec
from estbench.runtime.device import check_answers
from estbench.runtime.guard import DeviceLostError
from estbench.store.checkpoints import Checkpoints
from estbench.store.store import Store
from tests.support.plans import plan_of
from tests.support.replicas import member, small

ASSERTION = "CUDA error: device-side assert triggered"


@pytest.fixture
def lost(monkeypatch):
    """A GPU that answers every request with the error of a kernel before."""

    def synchronize(_=None):
        raise RuntimeError(ASSERTION)

    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)


def plan(number):
    """A plan of as many cells."""
    wanted = {"tasks": ["toy"], "measures": ["training[steps=1]"], "estimators": ["rloo"], "device": "cpu"}
    return plan_of({**wanted, "seeds": number})


def jobs(number):
    """Jobs of as many cells."""
    return [Job(cell, entry) for cell, entry in plan(number).entries.items()]


class Loses:
    """Work that loses its GPU at the job of some seed; of others it says the process."""

    timeout = None

    def __init__(self, seed):
        self.seed, self.kept_jobs = seed, []

    def __call__(self, job):
        if job.cell.seed == self.seed:
            raise DeviceLostError(ASSERTION)
        return os.getpid()

    def keep(self, job, outcome):
        self.kept_jobs.append((job.cell.seed, outcome))


def test_only_an_error_that_persists_is_a_loss(lost):
    """What can be waited for goes on, whatever was wrong before; the reason is the error that was first."""
    check_answers(torch.device("cpu"), ValueError("of the plugin"))
    with pytest.raises(DeviceLostError, match="ValueError: of the plugin"):
        check_answers(torch.device("cuda"), ValueError("of the plugin"))
    with pytest.raises(DeviceLostError, match="device-side assert"):
        check_answers(torch.device("cuda"))


def test_a_worker_that_lost_its_gpu_is_replaced():
    """The job at fault fails with the reason; those after it are measured, in another process."""
    found = {job.cell.seed: outcome for job, outcome in Local(1).run(jobs(3), Loses(1))}
    assert isinstance(found[1], Failure)
    assert found[1].reason == ASSERTION
    assert isinstance(found[0], int)
    assert isinstance(found[2], int)
    assert found[0] != found[2]


def test_in_this_process_the_run_ends():
    """Inline, the job at fault is told, and then no further one is begun, also when it is asked for again."""
    here, found = Inline(), []
    some = jobs(3)
    with pytest.raises(UserError, match="--executor local"):
        found += iter(here.run(some, Loses(0)))
    with pytest.raises(UserError, match="device-side assert"):
        next(here.run(some[:1], Loses(9)))


def test_a_slurm_job_ends_with_its_gpu():
    """What it had done is kept and the loss too; the rest is left to another job."""
    work = Loses(1)
    outcomes = in_slurm_job(work, jobs(3))
    assert [type(outcome) for outcome in outcomes] == [int, Failure]
    assert [seed for seed, _ in work.kept_jobs] == [0, 1]


class Reference:
    """What a task of Ray gives at once."""

    def __init__(self, value):
        self.value = value


class RayInThisProcess:
    """Ray's calls, as far as the executor makes them, with tasks that run at once in the process of the caller."""

    def __init__(self):
        self.options = []

    def remote(self, **options):
        self.options.append(options)
        return lambda function: type("Task", (), {"remote": staticmethod(lambda *given: Reference(function(*given)))})

    def is_initialized(self):
        return True

    def cluster_resources(self):
        return {"CPU": 2.0, "GPU": 1.0}

    def wait(self, references, timeout):
        assert timeout is None
        return references[:1], references[1:]

    def get(self, reference):
        return reference.value


@pytest.mark.parametrize(("gpus", "calls"), [(1.0, 1), (0.25, 1), (0.0, 0)])
def test_a_ray_worker_with_a_gpu_is_for_one_job(gpus, calls, monkeypatch):
    """The job that lost the GPU fails with the reason; those after it are measured, by workers that Ray starts anew."""
    on_ray = pytest.importorskip("estbench.execution.executors.ray", reason="needs the extra ray")
    stub = RayInThisProcess()
    for name in ("remote", "is_initialized", "cluster_resources", "wait", "get"):
        monkeypatch.setattr(on_ray.ray, name, getattr(stub, name))
    found = {job.cell.seed: outcome for job, outcome in on_ray.Ray(gpus=gpus).run(jobs(3), Loses(1))}
    assert isinstance(found[1], Failure)
    assert found[1].reason == ASSERTION
    assert found[0] == found[2] == os.getpid()
    # 0 stands for any number of jobs
    assert [(each["num_gpus"], each["max_calls"]) for each in stub.options] == [(gpus, calls)]


def test_nothing_is_tried_again_where_the_gpu_is_lost(lost, monkeypatch):
    """Replicas of an ensemble that lost it are not trained alone in the same process."""

    def fail(_group):
        raise RuntimeError(ASSERTION)

    def never(*_):
        raise AssertionError("retried")

    monkeypatch.setattr(training, "Ensemble", fail)
    monkeypatch.setattr(Training, "_alone", never)
    monkeypatch.setattr(training, "replicas_that_fit", lambda _: 8)
    members = [on_gpu(member(small(), "rloo", seed)) for seed in range(2)]
    monkeypatch.setattr(Training, "_training_run", lambda _, one: training_run(one))
    with pytest.raises(DeviceLostError, match="device-side assert"):
        Training(2, 1, 0, 10).together(members)


def on_gpu(one):
    """A measurement whose bench says that it is on a GPU."""
    bench = one.bench
    there = Bench(bench.task, bench.seed, torch.device("cuda"), bench.dtype, bench.baseline, None, cell=bench.cell)
    return Member(there, one.key, one.maker)


def training_run(one):
    """A training on the CPU in its place."""
    from estbench.engine.training.training_run import TrainingRun

    here = member(small(), "rloo", one.bench.seed).bench
    return TrainingRun(here, one.maker(), one.key)


def test_a_cell_that_only_swallowed_the_loss_is_not_kept(lost, tmp_path, monkeypatch):
    """A measure that goes on after the error still loses the process once its cell is done."""
    (job,) = jobs(1)
    where = functools.partial(torch.device, "cuda")
    checked = []

    def check(_device, error=None):
        checked.append(error)
        check_answers(where(), error)

    monkeypatch.setattr("estbench.execution.runner.check_answers", check)
    with pytest.raises(DeviceLostError):
        CellWork(plan(1).plugins, tmp_path)(job)
    assert checked == [None]


def test_a_cell_that_fails_by_it_is_no_row(lost, tmp_path, monkeypatch):
    """The error of a plugin that took the GPU with it ends the process; alone it would have been a row."""

    def fail(*_):
        raise RuntimeError(ASSERTION)

    monkeypatch.setattr(Training, "rows", fail)
    (job,) = jobs(1)
    journal = Checkpoints(Store(tmp_path), job.entry, 60)
    runner = CellRunner(plan(1).plugins)
    assert runner.alone(job.cell, journal)[0].row.error.endswith(ASSERTION)
    monkeypatch.setattr(torch, "device", lambda _: GPU)
    with pytest.raises(DeviceLostError):
        runner.alone(job.cell, journal)


GPU = torch.device("cuda")


@pytest.mark.parametrize(
    ("device", "count", "workers"), [("cuda", 1, 1), ("cuda", 3, 3), ("cuda:1", 3, 1), ("cuda:0", 1, 1)]
)
def test_gpu_cells_run_in_workers(device, count, workers, monkeypatch):
    """One a GPU where none is named; a GPU that is named has one worker, which sees it under its number."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    made = executors.make(Spec("auto"), None, device)
    assert isinstance(made, Local)
    assert made.workers == workers
    assert made.gpus == (count if device == "cuda" else 0)


def test_a_gpu_by_number_is_refused_where_workers_see_one_each():
    """Every worker would find its only GPU under number 0, and each cell would fail by itself."""
    with pytest.raises(UserError, match=r"local\[gpus=2\].*got --device cuda:1"):
        executors.make(Spec.one("local[gpus=2]"), None, "cuda:1")
