"""Made-up results, as real ones look, for the tests of the report."""

import itertools
import json

import numpy as np
import pandas as pd

from estbench.store.records import COLUMNS

TASKS = ("toy", "sigmoid_belief_net", "vae[binarisation=dynamic,dataset=digits,hidden=200 200,latents=bernoulli]")
NAMES = (
    "exact", "rloo", "gumbel_softmax", "disarm", "reinforce", "arm", "straight_through", "nvil", "muprop", "rebar",
    "relax", "vimco", "st_gumbel_softmax", "reinmax", "reinforce_moving_average",
)  # fmt: skip
FAMILIES = {
    "rloo": "ScoreFunction", "reinforce": "ScoreFunction", "nvil": "ScoreFunction", "arm": "Coupled",
    "disarm": "Coupled", "gumbel_softmax": "Pathwise", "straight_through": "Pathwise", "muprop": "ControlVariate",
    "st_gumbel_softmax": "Pathwise", "reinmax": "Pathwise", "rebar": "ControlVariate", "relax": "ControlVariate",
}  # fmt: skip
ENVIRONMENT = {
    "command": "estbench compare rloo gumbel_softmax --task toy",
    "commit": "81c2476",
    "dirty": True,
    "started": "2026-11-21T03:30:36",
    "seconds": 123.4,
    "python": "3.11.9",
    "versions": {"torch": "2.13.0", "numpy": "2.4.0"},
    "cpu": "2 cores",
    "gpu": None,
    "threads": 2,
    "seeds": [0, 1, 2],
    "families": FAMILIES,
    "papers": {"rloo": "Kool, van Hoof & Welling (2019), https://openreview.net/forum?id=r1lgTGL5DE"},
}
STEPS = (0, 300)


def estimators(count):
    """Names with options: the plain ones first, then grids of temperatures and samples."""
    grids = itertools.product(NAMES[1:], ((), ("samples", 4), ("temperature", 0.25), ("temperature", 1.0)))
    plain = [(name, {}) for name in NAMES]
    options = [(name, dict([option])) for name, option in grids if option]
    return (plain + options)[:count]


def results(count=5, tasks=TASKS, seeds=3, evaluations=12, random=0):
    """Rows of all measures; the exact estimator has no variance, ARM takes no part in one task, NVIL fails."""
    rng = np.random.default_rng(random)
    rows = []
    for (i, (name, options)), task in itertools.product(enumerate(estimators(count)), tasks):
        cell = {
            "task": task,
            "estimator": name,
            "params": json.dumps(options),
            "device": "cpu",
            "dtype": "float32",
        }
        bad = trouble(name, task)
        for measure, rows_of in (("gradient", gradient), ("speed", speed), ("training", training)):
            runs = range(1 if measure == "speed" else seeds)
            for seed in runs:
                own = cell | {"measure": measure, "seed": seed}
                found = [bad] if bad else rows_of(rng, name, i, task, evaluations)
                rows += [own | row for row in found]
    return pd.DataFrame(rows, columns=COLUMNS)


def trouble(name, task):
    """Why an estimator has no values on a task."""
    if name == "arm" and task.startswith("vae"):
        return {"status": "not applicable", "error": "ARM takes Bernoulli nodes; 'z' is Categorical", "n": 0}
    if name == "nvil" and task == "toy":
        return {"status": "failed", "error": "RuntimeError: the loss is NaN after 17 steps", "n": 0}
    return {}


def figure(metric, value, spread, **more):
    """One row."""
    row = {"metric": metric, "value": value, "low": value - spread, "high": value + spread, "n": 1024}
    return row | {"step": 0, "status": "ok", "error": "", "unit": ""} | more


def gradient(rng, name, i, _task, _evaluations):
    """Moments at two points."""
    biased = "gumbel" in name or name in {"straight_through", "reinmax"}
    for step in STEPS:
        variance = 0.0 if name == "exact" else 10 ** (-2 + 0.12 * (i % 17)) * (1 + step / 300) * rng.uniform(0.9, 1.1)
        square = (0.04 * (1 + i % 5) if biased else 0.0) ** 2 + variance / 1024 * rng.normal()
        noise = 2 * variance / 1024
        low, high = (max(square + sign * noise, 0.0) ** 0.5 for sign in (-1, 1))
        bias = {"value": max(square, 0.0) ** 0.5, "low": low, "high": high}
        for group, factor in (("logits", 1.0), ("encoder", 20.0)):
            yield figure(f"squared_bias/{group}", factor**2 * square, factor**2 * noise, step=step)
            yield figure(f"bias/{group}", 0, 0, step=step) | {key: factor * x for key, x in bias.items()}
            yield figure(f"relative_bias/{group}", 0, 0, step=step) | {key: x / 0.8 for key, x in bias.items()}
            yield figure(f"variance/{group}", factor * variance, 0.06 * factor * variance, step=step)
            yield figure(f"mse/{group}", factor * variance + square, 0.06 * factor * variance, step=step)
        yield figure("evaluations", 1 + i % 4, 0, step=step, n=1)


def speed(rng, _name, i, task, _evaluations):
    """Times and memory."""
    seconds = 1e-3 * (1 + 0.3 * (i % 9)) * (1 + len(task) / 10) * rng.uniform(0.97, 1.03)
    for metric, factor in (("gradient_time", 0.7), ("step_time", 1.0)):
        yield figure(metric, factor * seconds, 0.02 * seconds, unit="s", n=30)
        yield figure(f"{metric}_q25", 0.97 * factor * seconds, np.nan, unit="s", n=30)
        yield figure(f"{metric}_q75", 1.04 * factor * seconds, np.nan, unit="s", n=30)
        yield figure(f"{metric}_ratio", factor * (1 + 0.3 * (i % 9)), 0.03, n=30)
    for metric, factor in (("forward_time", 0.4), ("backward_time", 0.5), ("optimizer_time", 0.1)):
        yield figure(metric, factor * seconds, 0.01 * seconds, unit="s", n=30)
    yield figure("peak_memory", 5e6 * (1 + i % 4), 0, unit="B", n=1)
    yield figure("peak_resident", 9e6 * (1 + i % 4), 0, unit="B", n=1)
    yield figure("flops", 1.9e8 * (1 + i % 4), 0, n=1)
    yield figure("threads", 2, 0, n=1)
    yield figure("clock", 2.3e9, 1e8, unit="Hz", n=60)


def training(rng, _name, i, task, evaluations):
    """Curves of the objective."""
    metric, sign = ("loss", 1.0) if task == "toy" else ("elbo", -1.0)
    final = 100 + 2 * (i % 7) + rng.normal(0, 0.5)
    for step in np.linspace(0, 3000, evaluations).astype(int):
        value = sign * (final + 100 * np.exp(-step / 500))
        for split, gap in (("train", 0.0), ("valid", 1.0), ("test", 1.5)):
            seconds = step * 1e-3 * (1 + 0.3 * (i % 9))
            yield figure(f"{metric}_{split}", value + sign * gap, 0.4, step=step, seconds=seconds, unit="nats")
    if metric == "elbo":
        yield figure("bound100_test", -final + 3, 0.4, step=3000, seconds=3.0, unit="nats")
