"""Benches of built-in tasks on a pretended GPU."""

import functools

import torch

from estbench import load_estimator
from estbench.engine.base import Bench, Member
from estbench.engine.training.training_run import TrainingRun
from estbench.measures.training import Training
from estbench.plugins.registry import discover, load_task

ESTIMATORS = [plugin.name for plugin in discover("estimator").plugins.values() if plugin.origin == "built-in"]
TASKS = [plugin.name for plugin in discover("task").plugins.values() if plugin.origin == "built-in"]
SCHEDULED = "vae[units=3,hidden=4,binarisation=dynamic,optimizer=adam,decay=0.5,decay_every=1]"
CONVOLUTIONS = "semi_supervised[width=2,gaussians=3]"
# one of each
FAMILIES = ("rloo", "gumbel_softmax", "disarm", "relax", "spsa", "vimco", "exact", "nvil")
NODES = {
    "bernoulli": "toy[units=3]",
    "categorical": "toy[latents=categorical,units=2,costs=0.1 0.5 0.9]",
    "layers": "sigmoid_belief_net",
}


def bench(task, seed=0, device="cuda", dtype=torch.float32):
    made = load_task(task)
    baseline = functools.partial(load_estimator, made.baseline)
    return Bench(made, seed, torch.device(device), dtype, baseline, None, cell=str(seed))


def training_runs(task, name, replicas, device="cuda"):
    benches = [bench(task, seed, device) for seed in range(replicas)]
    return [TrainingRun(each, load_estimator(name).to(each.device), name) for each in benches]


def steps(where, step):
    """Two steps, of which the second must not wait: the first may set things up."""
    step()
    where.waits.clear()
    step()
    assert not where.waits, where.waits


def figures(task, device):
    """What two replicas come to that are trained together, evaluation and all."""
    members = [Member(bench(task, seed, device), "rloo", lambda: load_estimator("rloo")) for seed in range(2)]
    found = Training(6, 2, 2, 20, 2).together(members)
    assert not any(each.error or each.note for each in found)
    return {
        (n, row.metric, row.step): row.value for n, each in enumerate(found) for row in each.rows if not row.picture
    }
