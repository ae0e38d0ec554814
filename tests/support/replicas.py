"""Replicas of small trainings, together and alone."""

import dataclasses
import functools

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from estbench import Pathwise, ScoreFunction, load_estimator
from estbench.engine.base import Bench, Member
from estbench.engine.training.ensemble import Ensemble
from estbench.engine.training.training_run import TrainingRun
from estbench.plugins.registry import load_task

SMALL = (
    "vae[units=3,classes=3,hidden=5,latents={latents},binarisation={view},optimizer={optimizer},learning_rate={rate}]"
)
DEFAULTS = {"latents": "bernoulli", "view": "fixed", "optimizer": "sgd", "rate": 0.01}
# of every family one or more: networks, moving averages, schedules, parameters, inner derivatives, sorting
BERNOULLI = [
    "rloo", "nvil[normalise=true]", "disarm", "arms", "relax", "rodeo", "muprop[normalise=true,hidden=5]",
    "stochastic_ad", "spsa",
]  # fmt: skip
CATEGORICAL = ["gumbel_softmax[rate=0.1,every=1]", "imle", "carms", "rebar", "vimco", "unordered_set", "exact", "zgr"]


def small(**options):
    return SMALL.format(**{**DEFAULTS, **options})


def member(task, name, seed=0, dtype=torch.float64, device="cpu", make=None):
    """A measurement; ``make`` makes the estimator if the name is none of a built-in one."""
    made = load_task(task)
    bench = Bench(
        made, seed, torch.device(device), dtype, functools.partial(load_estimator, made.baseline), None, cell=f"{seed}"
    )
    return Member(bench, name, lambda: (make() if make else load_estimator(name)).to(dtype))


def training_runs(members):
    return [TrainingRun(each.bench, each.maker().to(each.bench.device), each.key) for each in members]


def figures(rows):
    return {(row.metric, row.step): row.value for row in rows if not row.picture}


def alone(training, one):
    return figures(row for _, row in training.rows(one.bench, {one.key: one.maker}))


def check(members, training, rtol=1e-12):
    """Trains together and alone; returns what was trained together."""
    found = training.together(members)
    for one, own in zip(members, found, strict=True):
        assert not own.note
        assert {row.replicas for row in own.rows} == {len(members)}
        assert figures(own.rows) == pytest.approx(alone(training, one), rel=rtol)
    return found


class Killed(KeyboardInterrupt):
    """The process ends here."""


def kept(folder, one, number, steps=12):
    """A measurement with checkpoints, one after every step."""
    # a GPU's machine may lack what stores need
    from estbench.store.cell_file import Entry
    from estbench.store.checkpoints import Checkpoints
    from estbench.store.store import Store

    journal = Checkpoints(Store(folder), Entry(f"key{number}", {"steps": steps}), 0)
    return one._replace(bench=dataclasses.replace(one.bench, journal=journal))


class AsksTorch(Pathwise):
    """Takes its noise from torch itself."""

    unbiased = False
    hard = True
    paper = ""

    def sample(self, _name, node):
        noise = torch.logit(torch.rand_like(node.logits)) + 0 * torch.randn(node.logits.shape)
        noise = noise + 0 * torch.empty_like(node.logits).exponential_() + 0 * torch.bernoulli(node.mean.detach())
        return node.discretise(noise) + node.mean - node.mean.detach()


class AsksForMultinomial(ScoreFunction):
    """Takes noise from a function that no tape holds."""

    unbiased = True
    paper = ""

    def baseline(self, _name, node, cost):
        return cost * 0 + torch.multinomial(torch.ones(2), 1)


class Looks(ScoreFunction):
    """Decides by a value."""

    unbiased = True
    paper = ""

    def baseline(self, _name, node, cost):
        return cost * 0 if cost.mean() > 0 else cost * 0 + 1


class Whispers(Pathwise):
    """Mapped over replicas it has another gradient than alone."""

    unbiased = False
    hard = True
    paper = ""

    def sample(self, _name, node):
        return node.sample() + (node.mean - node.mean.detach()) * (1 if self.alone(node) else 2)

    def alone(self, node):
        try:
            return float(node.logits.detach().sum()) < torch.inf
        except RuntimeError:
            return False


def calls(replicas, task="vae[units=8]", name="rloo"):
    """What a step asks of torch, by name; not the first ones, which set things up."""
    runs = training_runs([member(task, name, seed, torch.float32) for seed in range(replicas)])
    ensemble = Ensemble(runs, graphs=False)
    for _ in range(2):
        ensemble.train()
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        ensemble.train()
    return [event.name for event in profiled.events() if event.name.startswith("aten::")]
