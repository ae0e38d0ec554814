"""Variance, gradient and training step, against the package storchastic: ``python -m benchmarks.against_storchastic``.

The same VAE and data as in ``benchmarks.step``, with the same cost, through the public interface of either package. A
ratio of 5 says that estbench is 5 times as fast. The variance is that of 1,000 gradients with respect to the logits,
here by the moments engine, there by a loop. The floor of a step is the one written by hand: nothing that computes the
same gradient is much faster. storchastic (AGPL) is not among the dependencies: ``pip install storchastic`` in an
environment of its own.
"""

import argparse
import importlib.util
import sys

import torch
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)

from benchmarks import step
from benchmarks._by_hand import LOSSES
from benchmarks._interleaved import ratios
from benchmarks.moments import Case
from estbench.stats import median_interval

REPLICATES = 1000
NAMES = ("rloo", "gumbel_softmax", "relax", "arm")


def method_of(name, units):
    import storch  # noqa: PLC0415  (where it is installed)

    return {
        "rloo": lambda: storch.method.ScoreFunction("z", n_samples=2, baseline_factory="batch_average"),
        "gumbel_softmax": lambda: storch.method.GumbelSoftmax("z"),
        "relax": lambda: storch.method.RELAX("z", in_dim=[units]),
        "arm": lambda: storch.method.ARM("z"),
    }[name]()


def through_storchastic(name, model, x):
    """A function that adds up the cost and takes its gradient, and what the method learns beside the model."""
    import storch  # noqa: PLC0415  (where it is installed)

    method = method_of(name, len(model.prior))

    def gradient():
        images = storch.denote_independent(x, 0, "examples")
        q = torch.distributions.Bernoulli(logits=model.encoder(images))
        z = method(q)
        log_q = (z * q.logits - F.softplus(q.logits)).sum(-1)
        log_p = (z * model.prior - F.softplus(model.prior)).sum(-1)
        decoded = model.decoder(z)
        # its tensors are refused by torch's cross entropy, which takes no shapes to be broadcast
        log_x = (images * decoded - F.softplus(decoded)).sum(-1)
        storch.add_cost(log_q - log_p - log_x, "negative ELBO")
        return storch.backward()

    return gradient, list(method.parameters())


def through_estbench(name, model, x):
    loss, own = step.through_estbench(name, model, x)
    return lambda: loss().backward(), own


def by_hand(name, model, x):
    loss, own = step.by_hand(name, model, x)
    return lambda: loss().backward(), own


def actions(make, name, x):
    """A function that takes a gradient, and one that takes a training step, of a fresh model."""
    torch.manual_seed(0)
    model = step.VAE(x.shape[-1])
    gradient, own = make(name, model, x)
    optimizer = torch.optim.Adam([*model.parameters(), *own], fused=True)

    def cleared():
        optimizer.zero_grad()
        gradient()

    def stepped():
        cleared()
        optimizer.step()

    for _ in range(5):
        stepped()
    return cleared, stepped


def compare(name, x, blocks, seconds):
    """Ratios with their intervals: of the variance, a gradient, a step, and the step by hand where there is one."""
    ours, theirs = actions(through_estbench, name, x), actions(through_storchastic, name, x)
    moments = Case.of("vae 784-200-784", "logits", name, REPLICATES)
    variance = ratios(moments.engine(moments.variables()[1]), theirs[0], blocks, seconds) * REPLICATES
    found = [median_interval(variance)]
    found += [median_interval(ratios(*pair, blocks, seconds)) for pair in zip(ours, theirs, strict=True)]
    if name in LOSSES:
        found.append(median_interval(ratios(actions(by_hand, name, x)[1], theirs[1], blocks, seconds)))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[2])
    parser.add_argument("--blocks", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=0.1, help="shortest time for which each side runs in a block")
    options = parser.parse_args()
    if importlib.util.find_spec("storch") is None:
        sys.exit("storchastic is not installed in this environment, so there is nothing to compare with")
    titles = ("variance", "gradient", "step", "step by hand")
    print("threads  estimator      ", "  ".join(f"{f'{title} [95 %]':20}" for title in titles))
    for threads in options.threads:
        torch.set_num_threads(threads)
        for name in NAMES:
            found = compare(name, step.images(), options.blocks, options.seconds)
            columns = "  ".join(f"{value:5.2f} [{low:5.2f}, {high:5.2f}]" for value, low, high in found)
            print(f"{threads:7}  {name:15} {columns}", flush=True)


if __name__ == "__main__":
    main()
