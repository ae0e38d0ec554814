"""Time, memory and statistical quality of every estimator; every value is positive, and lower is better.

A track_ benchmark that returns samples has intervals in asv like a timing: asv keeps their median, and its
``compare`` tests them.
"""

import functools
import time

import torch

from benchmarks import _subject
from benchmarks.manifest import ESTIMATORS, TASKS
from estbench import load_estimator
from estbench.engine.base import Bench
from estbench.engine.moments.moments import moments
from estbench.measures.speed import Speed

FLOOR = 1e-4  # parts of the true gradient's norm: below is rounding, whose changes say nothing
GROUPS = 8
CHUNK = 256  # replicates in memory at once, at most
CHUNKS = 64  # at least: where replicates are few it is because each takes much memory
STEPS = 200
TIMEOUT = 1800  # seconds by the clock: the slowest value takes two minutes alone, and the machine may be busy


def sampled(values):
    return {"samples": [float(value) for value in values], "number": 1}


class Step:
    """Processor time of a gradient and of a training step."""

    version = "2"
    params = (list(ESTIMATORS), list(TASKS))
    param_names = ("estimator", "task")
    timer = time.process_time
    timeout = TIMEOUT
    rounds = 2
    repeat = (10, 50, 0.4)
    warmup_time = 0.05

    def setup(self, name, task):
        self.subject = _subject.ready(name, task)

    def time_gradient(self, _name, _task):
        self.subject.gradient()

    def time_step(self, _name, _task):
        self.subject.step()

    time_gradient.pretty_name = "time of a gradient"
    time_step.pretty_name = "time of a training step"


class Cost:
    """Values of a gradient that no other process disturbs."""

    version = "1"
    params = Step.params
    param_names = Step.param_names
    timeout = TIMEOUT
    blocks = 24
    seconds = 0.005

    def setup(self, name, task):
        self.subject = _subject.ready(name, task)

    def track_relative_time(self, _name, _task):
        """Time of a gradient over that of a fixed piece of work that is timed in turn with it."""
        actions = (self.subject.gradient, _subject.reference)
        calls = [max(1, round(self.seconds / min(_subject.seconds(a, 1) for _ in range(5)))) for a in actions]
        pairs = [[_subject.seconds(a, n) for a, n in zip(actions, calls, strict=True)] for _ in range(self.blocks)]
        return sampled(own / other for own, other in pairs)

    def track_peak_memory(self, name, _task):
        made = self.subject.task
        bench = Bench(
            made, 0, torch.device("cpu"), torch.float32, functools.partial(load_estimator, made.baseline), None
        )
        rows = Speed(6, 1e-6).rows(bench, {name: functools.partial(load_estimator, name)})
        return next(row.value for _, row in rows if row.metric == "peak_memory")

    track_relative_time.pretty_name = "time of a gradient / time of the reference work"
    track_relative_time.unit = "times the reference"
    track_peak_memory.pretty_name = "peak memory of a gradient"
    track_peak_memory.unit = "bytes"


class Quality:
    """Variance and error of the gradient with respect to the logits; seeds are fixed."""

    version = "4"
    params = Step.params
    param_names = Step.param_names
    timeout = TIMEOUT
    unit = "nats² or loss²"

    def setup(self, name, task):
        self.subject = _subject.make(name, task)
        self.subject.estimator.eval()

    def _moments(self, task):
        gradient = self.subject.logit_gradient(self.subject.estimator)
        torch.manual_seed(_subject.SEED)
        with torch.no_grad():
            return moments(gradient, TASKS[task], min(CHUNK, TASKS[task] // CHUNKS))["logits"]

    def track_variance(self, _name, task):
        found = self._moments(task)
        floor = FLOOR**2 * found.means.mean(0).square().sum()
        return sampled(found.variances.clamp(min=floor))

    def track_error(self, _name, task):
        """Squared distance to the true gradient of the mean of many estimates: squared bias and what noise is left.

        The squared bias alone has no positive estimate that is unbiased; this value is positive, grows with any
        bias, and is at rest where there is none.
        """
        exact = self.subject.exact_gradient()
        groups = torch.stack([part.mean(0) for part in self._moments(task).means.chunk(GROUPS)])
        floor = FLOOR**2 * exact.square().sum()
        return sampled((groups - exact).square().sum(-1).clamp(min=floor))

    # for asv what does not apply must say so in a setup: raised by the benchmark itself it is a failure
    track_error.setup = lambda name, task: _subject.ready(name, task).exact_gradient()
    track_variance.pretty_name = "variance of a gradient estimate"
    track_error.pretty_name = "squared error of the mean gradient"


class Learning:
    """The test examples' mean negative ELBO, or loss, after a short training; a sample is a seed of the noise."""

    version = "2"
    params = Step.params
    param_names = Step.param_names
    timeout = TIMEOUT
    unit = "nats or loss"
    seeds = 4

    def setup(self, name, task):
        _subject.ready(name, task)

    def _final(self, name, task, seed):
        subject = _subject.make(name, task)
        subject.train(STEPS, seed)
        return subject.test_cost(10)

    def track_loss(self, name, task):
        return sampled(self._final(name, task, seed) for seed in range(self.seeds))

    track_loss.pretty_name = f"test NELBO or loss after {STEPS} steps"
