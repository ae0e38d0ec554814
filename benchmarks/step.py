"""One training step through estbench over the same step written by hand: ``python -m benchmarks.step``.

The VAE of 200 Bernoulli units, 784-200-784, 100 examples of random data, Adam. A ratio of 1.05 says that estbench takes
5 % longer. The last column is the least time that the step's matrix products can take.
"""

import argparse
import time

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks._by_hand import LOSSES, VAE
from benchmarks._interleaved import ratios
from estbench import load_estimator
from estbench.stats import median_interval

EXAMPLES = 100


def images(examples=EXAMPLES, pixels=784):
    return (torch.rand(examples, pixels) < 0.3).float()


def through_estbench(name, model, x):
    """The loss as a function, and what it learns beside the model."""
    estimator = load_estimator(name)
    estimator.prepare(model(x))
    return lambda: estimator(model(x)), list(estimator.parameters())


def by_hand(name, model, x):
    """The same by hand."""
    loss = LOSSES[name]()
    return lambda: loss(model, x), list(loss.parameters())


def step_of(make, name, x):
    """A function that takes a training step, of a fresh model."""
    torch.manual_seed(0)
    model = VAE(x.shape[-1])
    loss, own = make(name, model, x)
    optimizer = torch.optim.Adam([*model.parameters(), *own], fused=True)

    def step():
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    for _ in range(10):
        step()
    return step


def peak(size=1024, calls=10):
    """Floating-point operations a second of a matrix product that fits the caches, at their best."""
    a, b, best = torch.rand(size, size), torch.rand(size, size), float("inf")
    for _ in range(calls):
        start = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def flops(step):
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def compare(name, rounds, seconds):
    """Median ratio with its interval, milliseconds through estbench, and the least they can be.

    Where tensors happen to lie in memory is worth some 5 % to a matrix product, for as long as a model lives. So every
    round has fresh models, in random order.
    """
    x, found, order = images(), [], np.random.default_rng(0)
    for _ in range(rounds):
        made = [through_estbench, by_hand]
        order.shuffle(made)
        steps = {make: step_of(make, name, x) for make in made}
        ours, hand = steps[through_estbench], steps[by_hand]
        found.append(np.median(ratios(hand, ours, 3, seconds)))
    found = median_interval(np.array(found))
    start, calls = time.perf_counter(), 50
    for _ in range(calls):
        ours()
    return *found, 1e3 * (time.perf_counter() - start) / calls, 1e3 * flops(hand) / peak()


def operators(name, calls=50):
    """Share of the processor's time in a step through estbench, by operator; the largest first."""
    step = step_of(through_estbench, name, images())
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(calls):
            step()
    spent = {event.key: event.self_cpu_time_total for event in profiler.key_averages()}
    total = sum(spent.values())
    return {key: spent[key] / total for key in sorted(spent, key=spent.get, reverse=True)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.05, help="shortest time for which each side runs in a block")
    parser.add_argument("--profile", choices=LOSSES, help="say by operator where the time of this one's step goes")
    options = parser.parse_args()
    if options.profile:
        torch.set_num_threads(options.threads[0])
        for key, share in list(operators(options.profile).items())[:12]:
            print(f"{share:6.1%}  {key}")
        return
    print("threads  estimator       step over by hand [95 %]   ms    ms at the peak")
    for threads in options.threads:
        torch.set_num_threads(threads)
        for name in LOSSES:
            ratio, low, high, took, least = compare(name, options.rounds, options.seconds)
            line = f"{threads:7}  {name:15} {ratio:6.3f} [{low:.3f}, {high:.3f}] {took:11.2f} {least:12.2f}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
