"""What is said of a GPU, in which precision it computes, and how many copies of the data it holds."""

import types
import warnings

import pytest
import torch

from benchmarks import ensemble as benchmark
from estbench.engine.journal import NoJournal
from estbench.execution import cell_runner
from estbench.runtime import environment as about
from estbench.runtime.precision import arithmetic
from tests.support.plans import plan_of

CARDS = {0: ("small", 20, 1536), 1: ("large", 132, 2048)}


@pytest.fixture
def cards(monkeypatch):
    """Two GPUs, of which torch's current one is the first."""

    def properties(number):
        name, count, threads = CARDS[number]
        return types.SimpleNamespace(
            name=name, total_memory=2**30, multi_processor_count=count, max_threads_per_multi_processor=threads
        )

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
    monkeypatch.setattr(about, "_output", lambda *_: "580.1\n580.1")
    about.machine.cache_clear()
    yield
    about.machine.cache_clear()


@pytest.mark.parametrize(
    ("device", "name"), [("cuda:1", "large"), ("cuda:0", "small"), ("cuda", "small"), ("", "small")]
)
def test_the_gpu_of_the_run_is_told(device, name, cards):
    """Of several the one that ``--device`` names, though it is not torch's current one."""
    assert about.machine(device)["gpu"].startswith(f"{name}, 1 GiB")
    assert about.environment(device)["gpu"].startswith(name)


def test_what_random_numbers_depend_on_is_told(cards):
    """Torch fills a tensor thread by thread: with more entries than threads the numbers are those of the card."""
    assert about.machine("cuda:1")["gpu_random_numbers"].startswith("tensors of more than 270,336 entries")
    assert about.machine("cuda:0")["gpu_random_numbers"].startswith("tensors of more than 30,720 entries")


def test_precision_is_set_without_a_warning(monkeypatch):
    """Torch 2.9.0 warns of the names that older torch knows; a run says nothing of it, and other warnings are heard."""

    def warned(name):
        plain = getattr(torch, name)

        def call(*args):
            warnings.warn("Please use the new API settings to control TF32 behavior, ...", UserWarning, stacklevel=2)
            return plain(*args)

        monkeypatch.setattr(torch, name, call)

    warned("get_float32_matmul_precision")
    warned("set_float32_matmul_precision")
    before = torch.backends.cudnn.allow_tf32
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with arithmetic("cpu", "tf32"):
            assert torch.backends.cudnn.allow_tf32
        with arithmetic("cpu", "float32"):
            assert not torch.backends.cudnn.allow_tf32
            with pytest.raises(UserWarning, match="another"):
                warnings.warn("another", UserWarning, stacklevel=2)
    assert torch.backends.cudnn.allow_tf32 == before


def test_benchmarks_compute_as_a_run_does(monkeypatch, tmp_path):
    """Products and convolutions are exact in them, though torch by itself lets convolutions use tf32."""
    seen = []

    def noted(_):
        seen.append((torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()))
        return {}

    monkeypatch.setattr(benchmark, "ceilings", noted)
    monkeypatch.setattr("sys.argv", ["ensemble", "--only", "ceilings", "--device", "cpu"])
    with pytest.raises(SystemExit, match="0"):
        benchmark.main()
    assert seen == [(False, "highest")]


def test_learning_rates_share_the_data(monkeypatch):
    """Replicas of tasks that differ in a learning rate have one copy of the data on the device, not one each."""
    wanted = {
        "tasks": ["vae[units=3,hidden=4,learning_rate=0.1,0.2]"],
        "measures": ["training[steps=1,samples=0,examples=20]"],
        "estimators": ["rloo"],
        "seeds": 2,
        # whose data is a copy, as on a GPU
        "dtype": "float64",
    }
    plan, seen = plan_of(wanted), []
    together = cell_runner.Member

    def member(bench, *others):
        seen.append(bench)
        return together(bench, *others)

    monkeypatch.setattr(cell_runner, "Member", member)
    cell_runner.CellRunner(plan.plugins).together({cell: NoJournal() for cell in plan.cells})
    assert len({str(bench.task.learning_rate) for bench in seen}) == 2
    assert len({id(bench.splits().train[0]) for bench in seen}) == 1
    assert len(seen) == 4
