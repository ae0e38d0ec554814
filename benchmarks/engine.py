"""Processor time of the engine that takes moments of gradients, at one estimator."""

import time

import torch

from benchmarks import _subject
from estbench.engine.moments.moments import moments


class Moments:
    """4,096 replicates of a cheap gradient, in chunks of 256."""

    version = "1"
    timer = time.process_time
    rounds = 2
    repeat = (3, 10, 1.0)

    def setup(self):
        subject = _subject.ready("rloo", "sigmoid_belief_net")
        self.gradient = subject.logit_gradient(subject.estimator)

    def time_moments(self):
        with torch.no_grad():
            moments(self.gradient, 4096, 256)

    time_moments.pretty_name = "time of the engine's moments"
