"""Time and statistical quality of every estimator; lower is better for all figures."""

import functools

import torch

from benchmarks.manifest import ESTIMATORS, TASKS
from estbench import NotApplicableError, load_estimator, load_task
from estbench.measure.base import Bench
from estbench.measure.gradient import Gradient
from estbench.measure.training import Training
from estbench.spec import UserError


def bench(task):
    """A task on the CPU with a fixed seed."""
    made = load_task(task)
    oracle = (lambda bound: load_estimator(made.oracle, samples=bound)) if made.oracle else None
    baseline = functools.partial(load_estimator, made.baseline)
    return Bench(made, 0, torch.device("cpu"), torch.float32, baseline, oracle)


def available(estimator):
    """Makes asv report n/a where a commit lacks an estimator or it does not apply."""
    try:
        return load_estimator(estimator)
    except UserError as error:
        raise NotImplementedError(str(error)) from error


class Step:
    """Seconds of a gradient and of a training step."""

    version = "1"
    params = (ESTIMATORS, TASKS)
    param_names = ("estimator", "task")

    def setup(self, name, task):
        torch.set_num_threads(1)
        where = bench(task)
        self.estimator, self.model = available(name), where.model()
        self.batch = next(where.minibatches(where.splits().train))
        try:
            self.estimator.prepare(self.model(*self.batch))
            self.optimizer = where.task.optimizer(self.model, self.estimator)
            self.time_step(name, task)
        except NotApplicableError as error:
            raise NotImplementedError(str(error)) from error

    def time_gradient(self, _name, _task):
        self.estimator(self.model(*self.batch)).backward()

    def time_step(self, _name, _task):
        self.optimizer.zero_grad()
        self.estimator(self.model(*self.batch)).backward()
        self.optimizer.step()


Step.time_gradient.version = Step.time_step.version = "1"


class Quality:
    """Variance and squared bias of the gradient, and the loss after a short training; seeds are fixed."""

    params = (ESTIMATORS,)
    param_names = ("estimator",)
    timeout = 300

    def setup(self, name):
        torch.set_num_threads(1)
        available(name)

    def _gradient(self, name):
        maker = functools.partial(load_estimator, name)
        rows = Gradient(4096, 64, after=0).rows(bench("sigmoid_belief_net"), {name: maker})
        return {row.metric: row.value for _, row in rows}

    def track_variance(self, name):
        return self._gradient(name)["variance/logits"]

    def track_relative_bias(self, name):
        return self._gradient(name)["relative_bias/logits"]

    def track_loss(self, name):
        maker = functools.partial(load_estimator, name)
        rows = list(Training(200, 1).rows(bench("sigmoid_belief_net"), {name: maker}))
        return -next(row.value for _, row in rows if row.metric == "elbo_test" and row.step == 200)


for method in (Quality.track_variance, Quality.track_relative_bias, Quality.track_loss):
    method.version = "1"
