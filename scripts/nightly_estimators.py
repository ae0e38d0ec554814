"""A table of all estimators: bias at a million replicates, and variance at equal evaluations.

    python scripts/nightly_estimators.py > reports/estimators.md

Bias is measured on a net of two layers against enumeration. The variances are those of the gradient of the first
logits (``toy``) or the encoder (``sigmoid_belief_net``, one minibatch of an untrained model), times the evaluations
that one gradient takes, over the same of ``rloo``: what is below 1 beats RLOO at equal evaluations. What an estimator
learns (baselines, scales, temperatures, networks) it has learned for 300 steps, with the model held still.
"""  # noqa: INP001

import argparse
import functools
import math
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import torch
from scipy.stats import chi2, norm
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from estbench import load_estimator, load_task
from estbench.core.estimator import Estimator, NotApplicableError
from estbench.core.node import Bernoulli, Categorical, Node
from estbench.core.program import Program, Sample
from estbench.plugins.registry import discover

KINDS: dict[str, type[Node]] = {"bernoulli": Bernoulli, "categorical": Categorical}
# small networks: RODEO evaluates its own once per bit
OPTIONS = {"rodeo": {"hidden": 10}}
BASE = "rloo"


class TwoLayerNet(nn.Module):
    """Two layers of three bits, or two variables of three classes, with a nonlinear cost that sees log q."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.shape = (3,) if kind == "bernoulli" else (2, 3)
        self.kind, size = KINDS[kind], math.prod(self.shape)
        generator = torch.Generator().manual_seed(0)
        shapes = {"encoder": (1, size), "weight": (size, size), "decoder": (size, size), "prior": (size,)}
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.randn(*shape, generator=generator) / 2))

    def forward(self) -> Program:
        """The program."""

        def program(sample: Sample) -> Tensor:
            first, log_first = sample("first", self.node(self.encoder))
            low = first.flatten(-len(self.shape))
            second, log_second = sample("second", self.node((2 * low - 1) @ self.weight))
            high = second.flatten(-len(self.shape))
            mean = torch.tanh(high @ self.decoder + low).sum(-1)
            prior = self.node(self.prior).log_prob(second)
            return (log_first + log_second) / 2 - prior + (mean - 0.7) ** 2 + 2 * (low * high).sum(-1)

        return program

    def node(self, logits: Tensor) -> Node:
        """Logits as a node."""
        return self.kind(logits.unflatten(-1, self.shape))


class MeanAndCovariance(NamedTuple):
    """Mean, covariance and number of gradients."""

    mean: Tensor
    covariance: Tensor
    number: int


class Both(nn.Module):
    """Model and estimator as one module, so that a functional call reaches the parameters of both."""

    def __init__(self, model: nn.Module, estimator: Estimator, batch: tuple[Tensor, ...]) -> None:
        super().__init__()
        self.model, self.estimator, self.batch = model, estimator.prepare(model(*batch)).eval(), batch

    def forward(self) -> Tensor:
        """The estimator's scalar."""
        return self.estimator(self.model(*self.batch))

    def evaluations(self) -> int:
        """How often one gradient evaluates the cost of each example."""
        nodes: list[Node] = []

        def collect(_name: str, node: Node) -> tuple[Tensor, Tensor]:
            nodes.append(node)
            return node.sample(), node.logits.new_zeros(())

        with torch.no_grad():
            self.model(*self.batch)(collect)
        return self.estimator.evaluations(nodes)


def moments(both: Both, prefix: str, number: int, chunk: int) -> MeanAndCovariance:
    """The moments of gradients for the model's parameters of this prefix, in double precision."""
    own = {n: p.detach() for n, p in both.named_parameters() if n.startswith(f"model.{prefix}")}

    def gradient(_: Tensor) -> Tensor:
        found = grad(lambda parameters: functional_call(both, parameters, ()))(own)
        return torch.cat([found[name].flatten() for name in own])

    total, squares, shift = 0.0, 0.0, None
    for _ in range(number // chunk):
        each = vmap(gradient, randomness="different")(torch.zeros(chunk)).double()
        shift = each.mean(0) if shift is None else shift
        total, squares = total + (each - shift).sum(0), squares + (each - shift).T @ (each - shift)
    done = number // chunk * chunk
    mean = total / done
    return MeanAndCovariance(shift + mean, squares / done - mean.outer(mean), done)


def verdict(found: MeanAndCovariance, truth: Tensor) -> tuple[float, float, float]:
    """Relative bias, the largest z and Hotelling's p-value."""
    error = found.mean - truth
    z = error.abs() / (found.covariance.diagonal().clamp_min(1e-30) / found.number).sqrt()
    values, vectors = torch.linalg.eigh(found.covariance)
    kept = values > 1e-7 * values.max()
    t2 = found.number * ((vectors.T @ error)[kept].square() / values[kept]).sum()
    moving = found.covariance.diagonal() > 1e-12
    return (error.norm() / truth.norm()).item(), z[moving].max().item(), float(chi2.sf(t2, kept.sum()))


def bias(name: str, kind: str, number: int) -> list[str]:
    """Cells of the table: relative bias, max|z| and T2."""
    estimator = make(name)
    if estimator.bound > 1:
        return ["another objective", "", ""]
    if name == "exact":
        return ["0", "", ""]
    with torch.no_grad():
        exact = Both(TwoLayerNet(kind).double(), load_estimator("exact"), ())
    truth = moments(exact, "", 1, 1).mean
    try:
        relative, z, p = verdict(moments(Both(TwoLayerNet(kind), estimator, ()), "", number, 10_000), truth)
    except NotApplicableError:
        return ["not applicable", "", ""]
    return [f"{relative:.1e}", f"{z:.1f}", f"{p:.1g}"]


@functools.cache
def variance(name: str, kind: str, task_name: str, prefix: str) -> float:
    """The trace of the covariance, times the evaluations of one gradient."""
    task = load_task(task_name, latents=kind, **({"units": 5} if task_name == "toy" else {}))
    torch.manual_seed(0)
    model = task.model()
    batch = task.view(tuple(x[: min(task.batch_size, 10)] for x in task.splits().train), torch.Generator())
    both = Both(model, make(name), batch)
    learn(both, 300)
    return moments(both, prefix, 4000, 500).covariance.trace().item() * both.evaluations()


def learn(both: Both, steps: int) -> None:
    """Trains the estimator alone."""
    both.estimator.train()
    own = list(both.estimator.parameters())
    optimizer = torch.optim.Adam(own, lr=0.01) if own else None
    for _ in range(steps if own or list(both.estimator.buffers()) else 0):
        both.zero_grad()
        both().backward()
        if optimizer:
            optimizer.step()
    both.estimator.eval()


def make(name: str) -> Estimator:
    """An estimator by name."""
    return load_estimator(name, **OPTIONS.get(name, {}))


def row(job: tuple[str, str, int]) -> list[str]:
    """One line of the table."""
    name, kind, number = job
    torch.set_num_threads(1)
    torch.manual_seed(sum(map(ord, name + kind)))
    estimator = make(name)
    family = type(estimator).__mro__[1].__name__
    cells = [name, family, kind, "unbiased" if estimator.unbiased else "biased", *bias(name, kind, number)]
    for task, prefix in (("toy", ""), ("sigmoid_belief_net", "encoder")):
        if estimator.bound > 1:
            cells.append("")
            continue
        try:
            cells.append(f"{variance(name, kind, task, prefix) / variance(BASE, kind, task, prefix):.2g}")
        except NotApplicableError:
            cells.append("not applicable")
    return cells


HEAD = [
    "estimator", "family", "type", "declared", "relative bias", "max&#124;z&#124;", "T2 p-value",
    "toy: variance x evaluations", "sigmoid_belief_net: variance x evaluations",
]  # fmt: skip


def main() -> None:
    """Writes the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    start, names = time.monotonic(), list(discover("estimator").plugins)
    jobs = [(n, k, options.replicates) for n in names for k in KINDS if KINDS[k] in make(n).accepts]
    with ProcessPoolExecutor(options.workers) as pool:
        rows = []
        for cells in pool.map(row, jobs):
            rows.append(cells)
            sys.stderr.write(f"{' '.join(cells)}\n")
    number = sum(r[5] != "" for r in rows)
    level = 2 * norm.sf(5)
    lines = [
        "# Estimators", "",
        f"Command: `python {' '.join(sys.argv)}`, torch {torch.__version__}.",
        "", *(__doc__ or "").split("\n\n")[2].splitlines(),
        "", f"A correct estimator has max|z| above 5 in {level:.0e} of cases per parameter; {number} nets were tested.",
        "", *(f"| {' | '.join(cells)} |" for cells in [HEAD, ["---"] * len(HEAD), *rows]), "",
    ]  # fmt: skip
    sys.stdout.write("\n".join(lines))
    sys.stderr.write(f"{time.monotonic() - start:.0f} s\n")


if __name__ == "__main__":
    main()
