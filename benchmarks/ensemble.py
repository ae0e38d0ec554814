"""Ensembles against the plain loop, graphs against single steps, and moments of many gradients; ratios in one run.

    python -m benchmarks.ensemble --device cuda
    python -m benchmarks.ensemble --replicas 2,8,32 --tasks "vae[units=8],vae[units=64]" --only loop

A line is one JSON object. Times are per replica and step; a ratio has the interval of a median over its blocks. Where
one fails the rest goes on, and the exit code is 1.
"""

import argparse
import dataclasses
import functools
import itertools
import json
import sys
import time
import traceback
from pathlib import Path

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks._interleaved import ratios
from estbench import load_estimator
from estbench.engine.base import Bench
from estbench.engine.profiling.counting import flops
from estbench.engine.training.ensemble import Ensemble
from estbench.engine.training.training_run import TrainingRun
from estbench.measures.gradient import Gradient
from estbench.measures.speed import Speed
from estbench.plugins.registry import load_task
from estbench.plugins.spec import split
from estbench.runtime.precision import arithmetic
from estbench.stats import median_interval

MNIST = "vae[dataset=mnist,hidden=200 200,latents=bernoulli],vae[dataset=mnist,latents=categorical]"
ESTIMATORS = "rloo,gumbel_softmax"


def bench(task, seed, device):
    made = load_task(task)
    baseline = functools.partial(load_estimator, made.baseline)
    return Bench(made, seed, torch.device(device), torch.float32, baseline, None, cell=str(seed))


def training_runs(task, name, device, replicas):
    """Replicas by seed, with the data in common."""
    first = bench(task, 0, device)
    benches = (dataclasses.replace(first, seed=seed, cell=str(seed)) for seed in range(replicas))
    return [TrainingRun(each, load_estimator(name).to(each.device), name) for each in benches]


def steps(action, device, count):
    """Several steps, to their end on the device."""

    def taken():
        for _ in range(count):
            action()
        synchronise(device)

    return taken


def synchronise(device):
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def compared(ours, other, options, scale=1.0):
    """How many times as fast ours is, and seconds of each."""
    found = scale * ratios(ours, other, options.blocks, options.seconds)
    value, low, high = median_interval(found)
    seconds = [min(_seconds(action) for _ in range(3)) for action in (ours, other)]
    return {"ratio": value, "low": low, "high": high, "ours": seconds[0], "other": seconds[1]}


def _seconds(action):
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def loop(task, name, replicas, options):
    """Replica-steps per second of an ensemble over those of the plain loop of one."""
    *many, one = training_runs(task, name, options.device, replicas + 1)
    ensemble = Ensemble(many)
    count = options.steps
    ours, other = steps(ensemble.train, options.device, count), steps(one.advance, options.device, count)
    ours()
    other()
    found = compared(ours, other, options, replicas)
    seconds = found.pop("ours") / count / replicas, found.pop("other") / count
    about = {"parameters": sum(p.numel() for p in one.model.parameters()), "note": ensemble.note}
    counts = traffic(task, name, options)
    rates = {"flops": work(one) / seconds[0], "bytes_per_second": counts["bytes"] / seconds[0]}
    return {**about, **found, "seconds": seconds[0], "loop_seconds": seconds[1], **rates, **counts}


def graph(task, name, options):
    """Steps per second of one replica as a graph over those of its loop."""
    one, same = training_runs(task, name, options.device, 2)
    ensemble = Ensemble([one])
    ours, other = (steps(action, options.device, options.steps) for action in (ensemble.train, same.advance))
    ours()
    other()
    found = compared(ours, other, options)
    return {**found, "seconds": found.pop("ours") / options.steps, "note": ensemble.note}


class Traffic(TorchDispatchMode):
    """Counts operations that compute, and the bytes that each reads and writes, as if none stayed in a cache."""

    def __init__(self):
        super().__init__()
        self.operations = self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        given, made = list(tensors((args, kwargs or {}))), list(tensors(result))
        changed = [x for x in made if any(x is other for other in given)]
        places = {x.untyped_storage().data_ptr() for x in given}
        if made and not changed and all(x.untyped_storage().data_ptr() in places for x in made):
            # a view
            return result
        self.operations += 1
        # of what is chosen from, no more is read than is taken
        read = made if func is torch.ops.aten.index.Tensor else given
        self.bytes += sum(min(x.nbytes, x.untyped_storage().nbytes()) for x in (*read, *made))
        return result


def tensors(values):
    return (x for x in tree_leaves(values) if isinstance(x, torch.Tensor))


def traffic(task, name, options):
    """Operations of a step of an ensemble, and bytes that it moves for a replica; operations of a step of the loop."""
    *few, one = training_runs(task, name, options.device, 3)
    steps = Ensemble(few, graphs=False).train, one.advance
    counts = []
    for step in steps:
        step()
        with Traffic() as count:
            step()
        counts.append(count)
    return {
        "operations": counts[0].operations,
        "loop_operations": counts[1].operations,
        "bytes": counts[0].bytes / len(few),
        "loop_bytes": counts[1].bytes,
    }


def work(training_run):
    """Operations of a step, multiplications and additions of matrices."""
    return flops(training_run.advance)


def ceilings(device):
    """What the device reaches: bytes copied and operations of a matrix product, per second."""
    size = 2**28 if device.startswith("cuda") else 2**24
    x, y = torch.rand(size, device=device), torch.rand(size, device=device)
    side = 8192 if device.startswith("cuda") else 1024
    a, b = torch.rand(side, side, device=device), torch.rand(side, side, device=device)
    copied, multiplied = steps(lambda: y.copy_(x), device, 5), steps(lambda: a @ b, device, 5)
    copied()
    multiplied()
    bandwidth = 5 * 8 * size / min(_seconds(copied) for _ in range(5))
    rate = 5 * 2 * side**3 / min(_seconds(multiplied) for _ in range(5))
    return {"bytes_per_second": bandwidth, "flops": rate}


def many_moments(task, name, replicates, options):
    """Seconds of the measure of bias and variance of so many gradients; the second time, with all set up."""
    where, maker = bench(task, 0, options.device), functools.partial(load_estimator, name)
    measure = Gradient(replicates=replicates, after=0, groups="logits")

    def measured():
        for _ in measure.rows(where, {name: lambda: maker().to(where.device)}):
            pass
        synchronise(options.device)

    measured()
    return {"replicates": replicates, "seconds": _seconds(measured)}


def speed(task, name, options):
    """Seconds of a step of a single run and of its gradient, and the memory of that, as the measure of speed has it."""
    where, maker = bench(task, 0, options.device), functools.partial(load_estimator, name)
    rows = {row.metric: row for _, row in Speed(blocks=6).rows(where, {name: maker})}
    found = {metric: rows[metric].value for metric in ("gradient_time", "peak_memory", "clock")}
    return {"seconds": rows["step_time"].value, **found}


def wanted(options):
    """What is asked for: a name of each benchmark, and what gives its values."""
    kinds = options.only.split(",")
    if "ceilings" in kinds:
        yield {"benchmark": "ceilings"}, lambda: ceilings(options.device)
    for task, name in itertools.product(split(options.tasks), split(options.estimators)):
        about = {"task": task, "estimator": name}
        if "graph" in kinds and options.device.startswith("cuda"):
            yield {"benchmark": "graph", **about}, functools.partial(graph, task, name, options)
        for replicas in map(int, options.replicas.split(",")) if "loop" in kinds else ():
            named = {"benchmark": "loop", **about, "replicas": replicas}
            yield named, functools.partial(loop, task, name, replicas, options)
        if "traffic" in kinds:
            yield {"benchmark": "traffic", **about}, functools.partial(traffic, task, name, options)
        if "speed" in kinds:
            yield {"benchmark": "speed", **about}, functools.partial(speed, task, name, options)
        if "moments" in kinds:
            named = {"benchmark": "moments", **about}
            yield named, functools.partial(many_moments, task, name, options.replicates, options)


def main():
    """Prints what is not in the file yet, and adds it there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--replicas", default="64", help="numbers of replicas, comma-separated")
    parser.add_argument("--tasks", default=MNIST)
    parser.add_argument("--estimators", default=ESTIMATORS)
    parser.add_argument("--only", default="ceilings,loop,graph,moments")
    parser.add_argument("--replicates", type=int, default=100_000, help="of the moments")
    parser.add_argument("--blocks", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=0.2, help="of each side of a block")
    parser.add_argument("--steps", type=int, default=20, help="between two looks at the clock")
    parser.add_argument("--out", type=Path, help="a file of JSON lines")
    options = parser.parse_args()
    if options.device == "cpu":
        torch.set_num_threads(1)
    lines = options.out.read_text(encoding="utf-8").splitlines() if options.out and options.out.exists() else []
    done = [json.loads(line) for line in lines]
    # as in a run: torch by itself lets convolutions use tf32
    with arithmetic(options.device, "float32"):
        sys.exit(int(not measured_all(options, done)))


def measured_all(options, done):
    """Whether all could be measured that is not among what is done."""
    good = True
    for named, measured in wanted(options):
        if any(named.items() <= each.items() for each in done):
            continue
        try:
            line = json.dumps({**named, "device": options.device, **measured()})
        except Exception:  # noqa: BLE001  (the others are worth having)
            traceback.print_exc()
            print(f"failed: {named}", file=sys.stderr, flush=True)
            good = False
            continue
        print(line, flush=True)
        if options.out:
            with options.out.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
    return good


if __name__ == "__main__":
    main()
