"""The moments of gradients against a loop of backward passes, as a user's own script would take them.

``python -m benchmarks.moments`` prints how many times as fast the engine is, each ratio taken block by block in one
run; ``--help`` lists its options.
"""

import argparse
import functools
import resource
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks._interleaved import ratios
from benchmarks.manifest import CASES
from estbench import load_estimator, load_task
from estbench.core.perceptron import network
from estbench.data import datasets
from estbench.engine.base import Bench
from estbench.engine.moments.linear_layers import by_layers
from estbench.engine.moments.moments import BATCHES, chunk_size, moments, working_set
from estbench.engine.moments.points import Point
from estbench.engine.moments.variables import Groups, Parameters
from estbench.runtime import memory
from estbench.tasks.vae import _VAE, _Prior

LOOP = 20  # backward passes of the loop per timed call
CPU = torch.device("cpu")


def mnist_vae():
    """A VAE of 784-200-784 with a batch of 100 images: the embedded digits, enlarged to 28 by 28."""
    grey = datasets.squares(torch.cat([part for (part,) in datasets.images("digits")]))
    grey = torch.nn.functional.interpolate(grey[:, None], 28, mode="bilinear").flatten(1)
    mean = grey.mean(0)
    model = _VAE(mean, network((784, 200)), network((200, 784)), _Prior((200,), learned=True), analytic=False)
    return model, (torch.bernoulli(grey[:100]),)


def of_task(name, **options):
    task = load_task(name, **options)
    return task.model(), next(task.minibatches(task.splits().train, torch.Generator().manual_seed(0)))


MODELS = {
    "vae 784-200-784": mnist_vae,
    "toy, 200 units": functools.partial(of_task, "toy", units=200),
    "sigmoid_belief_net": functools.partial(of_task, "sigmoid_belief_net"),
    "sequence_policy": functools.partial(of_task, "sequence_policy"),
}


@dataclass
class Case:
    """One estimator's gradient for one group, by the engine and by the loop."""

    model: torch.nn.Module
    batch: tuple
    estimator: torch.nn.Module
    group: str
    replicates: int

    @classmethod
    def of(cls, model, group, name, replicates=1000):
        memory.reuse()
        torch.manual_seed(0)
        made, batch = MODELS[model]()
        estimator = load_estimator(name)
        estimator.prepare(made(*batch))
        return cls(made, batch, estimator.eval(), group, replicates)

    def variables(self):
        where = Bench(load_task("toy"), 0, CPU, torch.float32, functools.partial(load_estimator, "rloo"), None)
        wanted = Groups.of(self.group).variables(where, Point(0, self.model, self.batch))
        return next(each for each in wanted if isinstance(each, Parameters) or self.group == "logits"), by_layers(
            where, wanted, self.estimator
        )[0]

    @torch.no_grad()
    def engine(self, variables):
        """A function that takes the moments."""
        gradient = variables.gradient(self.estimator, variables.point.program)
        chunk = chunk_size(working_set(gradient), 0, CPU)

        return torch.no_grad()(
            lambda: variables.grouped(moments(gradient, self.replicates, chunk, weights=variables.weights))
        )

    def loop(self):
        for _ in range(LOOP):
            self.model.zero_grad()
            self.estimator(self.model(*self.batch)).backward()

    def faster(self, blocks):
        """How many times as fast the engine is, block by block."""
        return ratios(self.engine(self.variables()[1]), self.loop, blocks, 0.05) * self.replicates / LOOP

    def narrower(self, runs=8):
        """How many times fewer replicates give the variance the same standard error by layers as in general."""
        general, layers = (
            np.mean([self.engine(way)()[self.group].variances.var().item() for _ in range(runs)])
            for way in self.variables()
        )
        return general / layers


class Ratio:
    """Time of the moments over that of a loop of backward passes, per replicate."""

    version = "1"
    params = list(CASES)  # noqa: RUF012
    param_names = ("case",)
    unit = "times a loop's time"
    timeout = 300

    def track_over_loop(self, case):
        found = Case.of(*case.split(" | "), 320).faster(6)
        return {"samples": [1 / value for value in found], "number": 1}

    track_over_loop.pretty_name = "time of the moments / time of a loop"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", default="", help="a part of the name of the cases to run")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{args.replicates} replicates, {args.threads} threads; times as fast as the loop: median (least to most)")
    for title in CASES:
        if args.only not in title:
            continue
        case = Case.of(*title.split(" | "), args.replicates)
        found = case.faster(args.blocks)
        text = f"{title:45} {np.median(found):6.1f} ({found.min():.1f} to {found.max():.1f})"
        if case.group == "encoder":
            case.replicates = 32 * BATCHES
            text += f"; at equal standard error of the variance {np.median(found) * case.narrower():.0f}"
        print(text, flush=True)
    print(f"peak memory of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
