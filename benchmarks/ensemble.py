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
from torch.utils.flop_counter import FlopCounterMode

from benchmarks._interleaved import ratios
from estbench import load_estimator
from estbench.measure._ensemble import Ensemble
from estbench.measure._trainee import Trainee
from estbench.measure.base import Bench
from estbench.measure.gradient import Gradient
from estbench.plugins import load_task
from estbench.spec import split
from estbench.stats import median_interval

MNIST = "vae[dataset=mnist,hidden=200 200,latents=bernoulli],vae[dataset=mnist,latents=categorical]"
ESTIMATORS = "rloo,gumbel_softmax"


def bench(task, seed, device):
    made = load_task(task)
    baseline = functools.partial(load_estimator, made.baseline)
    return Bench(made, seed, torch.device(device), torch.float32, baseline, None, cell=str(seed))


def trainees(task, name, device, replicas):
    """Replicas by seed, with the data in common."""
    first = bench(task, 0, device)
    benches = (dataclasses.replace(first, seed=seed, cell=str(seed)) for seed in range(replicas))
    return [Trainee(each, load_estimator(name).to(each.device), name) for each in benches]


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
    *many, one = trainees(task, name, options.device, replicas + 1)
    ensemble = Ensemble(many)
    count = options.steps
    ours, other = steps(ensemble.train, options.device, count), steps(one.advance, options.device, count)
    ours()
    other()
    found = compared(ours, other, options, replicas)
    seconds = found.pop("ours") / count / replicas, found.pop("other") / count
    about = {"parameters": sum(p.numel() for p in one.model.parameters()), "note": ensemble.note}
    rates = {"flops": work(one) / seconds[0], "bytes_per_second": moved(one) / seconds[0]}
    return {**about, **found, "seconds": seconds[0], "loop_seconds": seconds[1], **rates}


def graph(task, name, options):
    """Steps per second of one replica as a graph over those of its loop."""
    one, same = trainees(task, name, options.device, 2)
    ensemble = Ensemble([one])
    ours, other = (steps(action, options.device, options.steps) for action in (ensemble.train, same.advance))
    ours()
    other()
    found = compared(ours, other, options)
    return {**found, "seconds": found.pop("ours") / options.steps, "note": ensemble.note}


def moved(trainee):
    """Bytes of a step that parameters alone make: read twice, written as a gradient, and what the optimiser does."""
    count = sum(parameter.nbytes for optimizer in trainee.trainer.optimizers for parameter in every(optimizer))
    state = sum(
        x.nbytes
        for optimizer in trainee.trainer.optimizers
        for each in optimizer.state.values()
        for x in each.values()
        if isinstance(x, torch.Tensor)
    )
    return 6 * count + 2 * state


def every(optimizer):
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def work(trainee):
    """Operations of a step, multiplications and additions of matrices."""
    with FlopCounterMode(display=False) as counter:
        trainee.advance()
    return counter.get_total_flops()


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


def wanted(options):
    """What is asked for: a name of each benchmark, and what gives its figures."""
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
    done, failed = [json.loads(line) for line in lines], False
    for named, measured in wanted(options):
        if any(named.items() <= each.items() for each in done):
            continue
        try:
            line = json.dumps({**named, "device": options.device, **measured()})
        except Exception:  # noqa: BLE001  (the others are worth having)
            traceback.print_exc()
            print(f"failed: {named}", file=sys.stderr, flush=True)
            failed = True
            continue
        print(line, flush=True)
        if options.out:
            with options.out.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
