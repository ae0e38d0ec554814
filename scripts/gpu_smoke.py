"""Determines facts that can only be found on a GPU, each separately, so that a failure does not affect the others.

    python scripts/gpu_smoke.py
    python scripts/gpu_smoke.py --device cpu --replicas 2 --task "vae[units=8]"

Each line is a fact as JSON: its name, the seconds that it took, and the result or the error. The exit code is 0
whatever the facts are, since they are for people to read; 1 means that no fact could be determined.
"""

# ruff: noqa: INP001, T201  (a script, which prints what it finds)

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from estbench import load_estimator
from estbench.engine.base import Bench
from estbench.engine.training import cuda_graph
from estbench.engine.training.ensemble import Ensemble
from estbench.engine.training.minibatches import Minibatches
from estbench.engine.training.training_run import TrainingRun
from estbench.plugins.registry import load_task
from estbench.runtime.environment import environment
from estbench.runtime.precision import arithmetic

Found = dict[str, Any]
OPTIMIZERS = ("adam", "radam", "sgd", "rmsprop")
MNIST = "vae[dataset=mnist,hidden=200 200,latents=bernoulli]"
STEPS = 12


def main() -> None:
    """Determines all facts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--replicas", type=int, default=64, help="of the task")
    parser.add_argument("--task", default=MNIST, help="whose steps are timed and profiled")
    options = parser.parse_args()
    good = [tried(name, fact, options.device) for name, fact in facts(options)]
    sys.exit(int(not any(good)))


def facts(options: argparse.Namespace) -> Iterator[tuple[str, Callable[[], Found]]]:
    """The facts by name, the least known first."""
    device = options.device
    yield "versions", lambda: environment(device)
    for name in OPTIMIZERS:
        yield f"losses of {name}", functools.partial(losses, device, name)
    yield "after an invalidated capture", functools.partial(after_a_failed_capture, torch.device(device))
    yield "random numbers of CPU and device", functools.partial(random_numbers, device)
    yield "replicas", functools.partial(replicas, device, options.task, options.replicas)
    yield "one replay", functools.partial(replay, device, options.task, options.replicas)


def tried(name: str, fact: Callable[[], Found], device: str) -> bool:
    """Prints a fact, or the reason why it could not be determined; returns whether it could."""
    start = time.perf_counter()
    try:
        # where there is no GPU the versions still tell something
        with arithmetic(device if torch.cuda.is_available() else "cpu", "float32"):
            found = fact()
        good = True
    except Exception as error:  # noqa: BLE001  (it is what is to be known)
        found, good = {"error": " ".join(f"{type(error).__name__}: {error}".split())[:300]}, False
    print(json.dumps({"fact": name, "seconds": round(time.perf_counter() - start, 2), **found}), flush=True)
    return good


def runs(device: str, task: str, count: int) -> list[TrainingRun]:
    """Training runs with this number of seeds, which share the data."""
    made, memory = load_task(task), {}  # type: ignore[var-annotated]
    baseline = functools.partial(load_estimator, made.baseline)
    where = [
        Bench(made, seed, torch.device(device), torch.float32, baseline, None, memory=memory, cell=str(seed))
        for seed in range(count)
    ]
    return [TrainingRun(bench, load_estimator("rloo").to(bench.device), "rloo") for bench in where]


def losses(device: str, optimizer: str) -> Found:
    """The losses of an ensemble with graphs, of one without graphs and of plain training, and their differences."""
    task = f"vae[units=5,binarisation=dynamic,optimizer={optimizer}]"
    (plain,) = runs(device, task, 1)
    groups = {"graph": Ensemble(runs(device, task, 2)), "eager": Ensemble(runs(device, task, 2), graphs=False)}
    found = {name: [group.train()[0].item() for _ in range(STEPS)] for name, group in groups.items()}
    found["plain"] = [plain.advance().item() for _ in range(STEPS)]
    pairs = {f"{one} to {other}": (found[one], found[other]) for one, other in (("graph", "eager"), ("eager", "plain"))}
    apart = {name: max(abs(a / b - 1) for a, b in zip(*pair, strict=True)) for name, pair in pairs.items()}
    return {**apart, "note": groups["graph"].note, "last": {name: values[-1] for name, values in found.items()}}


def after_a_failed_capture(device: torch.device) -> Found:
    """The state of the allocator and the generator, and the next capture, after one that a plugin invalidated."""
    x, before = torch.ones(3, device=device), torch.cuda.memory_reserved(device)
    try:
        cuda_graph.captured(lambda inputs: inputs[0] * inputs[0].sum().item(), [x], device)
        reason = "it was captured"
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:120]
    big = torch.zeros(2**26, device=device)
    del big
    torch.cuda.empty_cache()
    replayed, output = cuda_graph.captured(lambda inputs: inputs[0] * 2, [x], device)
    replayed()
    numbers = torch.rand(3, device=device).tolist()
    kept = torch.cuda.memory_reserved(device) - before
    return {"reason": reason, "next": output.tolist(), "numbers": numbers, "bytes_kept": kept}


def random_numbers(device: str) -> Found:
    """Whether the generators of CPU and device differ, and whether the minibatches of a seed are equal nevertheless."""
    orders = [torch.randperm(10, generator=torch.Generator(x).manual_seed(0), device=x) for x in ("cpu", device)]
    task = "vae[units=5,binarisation=dynamic]"
    seen = [Minibatches([runs(x, task, 1)[0].bench]).at(3)[0].cpu() for x in ("cpu", device)]
    return {
        "same_generators": torch.equal(orders[0], orders[1].cpu()),
        "same_minibatches": torch.equal(seen[0], seen[1]),
    }


def replicas(device: str, task: str, count: int) -> Found:
    """Milliseconds of a step of all replicas, and the most memory that stacking and stepping took."""
    on_gpu, peaks = device.startswith("cuda"), {}
    group = Ensemble(runs(device, task, count))
    for _ in range(cuda_graph.WARM_UP + 1):
        group.train()
    if on_gpu:
        peaks["gib_to_the_capture"] = torch.cuda.max_memory_allocated(device) / 2**30
        torch.cuda.reset_peak_memory_stats(device)
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    for _ in range(20):
        last = group.train()
    last.sum().item()
    milliseconds = (time.perf_counter() - start) / 20 * 1e3
    if on_gpu:
        peaks["gib_of_steps"] = torch.cuda.max_memory_allocated(device) / 2**30
        peaks["gib_reserved"] = torch.cuda.max_memory_reserved(device) / 2**30
    return {"replicas": count, "milliseconds": milliseconds, **peaks, "note": group.note}


def replay(device: str, task: str, count: int) -> Found:
    """The time of kernels in a step over its time on the clock, and the longest of them."""
    group = Ensemble(runs(device, task, count))
    for _ in range(cuda_graph.WARM_UP + 1):
        group.train()
    group.train().sum().item()
    start = time.perf_counter()
    with torch.profiler.profile() as profiled:
        group.train().sum().item()
    seconds = time.perf_counter() - start
    kernels = [each for each in profiled.key_averages() if each.self_device_time_total]
    longest = sorted(kernels, key=lambda each: -each.self_device_time_total)[:8]
    total = sum(each.self_device_time_total for each in kernels) / 1e6
    return {
        "kernels_over_wall": total / seconds,
        "kernel_seconds": total,
        "kernels": sum(each.count for each in kernels),
        "longest": {each.key[:60]: each.self_device_time_total for each in longest},
    }


if __name__ == "__main__":
    main()
