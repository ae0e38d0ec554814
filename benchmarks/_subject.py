"""What is benchmarked: an estimator with a model and a minibatch of a task, from fixed seeds.

asv runs this file on every commit, so it leans on the public interface of estimators and tasks only.
"""

import functools
import time
from dataclasses import dataclass

import torch
import torch._dynamo
from torch.func import grad

from estbench import NotApplicableError, load_estimator, load_task
from estbench.core.program import draw, repeat, run
from estbench.core.task import Trainer
from estbench.errors import UserError

# Before asv's server forks a process for every value. A process must not inherit a pool of threads, and what a first
# step imports, an optimizer torch._dynamo, takes longer than most values.
torch.set_num_threads(1)

SEED = 0


def shifted(program, shifts):
    """A program whose logits are moved, by name of the node."""
    return lambda sample: program(lambda name, node: sample(name, node.at(node.logits + shifts[name])))


def flat(tensors):
    return torch.cat([tensor.flatten() for tensor in tensors.values()])


@dataclass
class Subject:
    task: object
    model: torch.nn.Module
    batch: tuple
    estimator: torch.nn.Module
    trainer: Trainer

    def gradient(self):
        self.trainer.zero_grad()
        self.estimator(self.model(*self.batch)).backward()

    def step(self):
        self.gradient()
        self.trainer.step()

    def logit_gradient(self, estimator):
        """A function that gives one gradient with respect to the logits of all nodes; runs under vmap."""
        with torch.no_grad():
            program = self.model(*self.batch)
            sites = run(program, draw)[1]
        shifts = {name: torch.zeros_like(site.node.logits) for name, site in sites.items()}
        return lambda: {"logits": flat(grad(lambda s: estimator(shifted(program, s)))(shifts))}

    def exact_gradient(self):
        """By enumeration, of the bound that the estimator is for."""
        oracle = load_estimator("exact", samples=self.estimator.bound)
        try:
            with torch.no_grad():
                return self.logit_gradient(oracle)()["logits"].double()
        except NotApplicableError as error:
            raise NotImplementedError(str(error)) from error

    def train(self, steps, seed):
        """Steps on minibatches whose order is the same whatever the seed of the noise."""
        minibatches = self.task.minibatches(self.task.splits().train, torch.Generator().manual_seed(SEED))
        torch.manual_seed(seed)
        for _, batch in zip(range(steps), minibatches, strict=False):
            self.trainer.zero_grad()
            self.estimator(self.model(*batch)).backward()
            self.trainer.step()

    def test_cost(self, samples):
        """Mean cost of the test examples at hard samples: NLL's bound, or the loss."""
        torch.manual_seed(SEED)
        with torch.no_grad():
            return run(self.model(*self.task.splits().test), repeat(draw, samples))[0].mean().item()


def make(name, task):
    """A fresh subject; NotImplementedError, asv's n/a, where a commit lacks a name or the two do not fit."""
    try:
        estimator, made = load_estimator(name), load_task(task)
    except UserError as error:
        raise NotImplementedError(str(error)) from error
    torch.manual_seed(SEED)
    model = made.model()
    batch = next(made.minibatches(made.splits().train, torch.Generator().manual_seed(SEED)))
    try:
        estimator.prepare(model(*batch))
        subject = Subject(made, model, batch, estimator, made.trainer(model, estimator))
        subject.gradient()
    except NotApplicableError as error:
        raise NotImplementedError(str(error)) from error
    subject.trainer.zero_grad()
    return subject


# asv calls setup before every timed call
ready = functools.cache(make)


def reference():
    """Work of the kind that estimators do, which no commit changes: small tensors and a backward pass."""
    weights = torch.full((64, 64), 0.01, requires_grad=True)
    values = torch.ones(64, 64)
    for _ in range(4):
        values = (values @ weights).sigmoid()
    values.sum().backward()


def seconds(action, calls):
    """Processor time: what else the machine does is not counted."""
    start = time.process_time()
    for _ in range(calls):
        action()
    return (time.process_time() - start) / calls
