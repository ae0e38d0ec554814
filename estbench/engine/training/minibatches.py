"""Training minibatches as a function of seed and step only, for one replica or many."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from estbench.core.task import Batch, Task
from estbench.engine.base import Bench
from estbench.engine.training.random_routing import Routed
from estbench.engine.training.random_tape import Tape, mixed
from estbench.runtime.device import moved


class Minibatches:
    """The training minibatches of replicas: their order, and their views for training.

    They depend only on seed and step, so that every estimator sees the same ones. Their random numbers are drawn on the
    CPU and copied to the device, so that a seed gives the same minibatches on every device. If a task has its own
    order, that order is replayed from its beginning.

    Args:
        benches: one for each replica; their tasks differ in floats only and have the same data.
    """

    def __init__(self, benches: Sequence[Bench]) -> None:
        self._benches, self.train = benches, benches[0].splits().train
        task, device = benches[0].task, benches[0].device
        kind = type(task)
        self.own = kind.minibatches is not Task.minibatches
        self.dressed = kind.view is not Task.view or kind.supplement is not Task.supplement
        self._streams = [bench.stream("minibatches") for bench in benches]
        self.tape = Tape([mixed(stream, 1) for stream in self._streams], device, source=torch.device("cpu"))
        # numbers that no tape holds come from the generator that views receive
        self._given, self._epoch = torch.Generator(device), -1
        self._size = min(task.batch_size, len(self.train[0]))
        self._taken, self._batches = 0, self._begun()

    def at(self, step: int) -> Batch:
        """The minibatch of a single replica."""
        if self.own:
            return tuple(x[0] for x in self.taken(step))
        index = self.order(step)[0]
        rows = tuple(x[index] for x in self.train)
        if not self.dressed:
            return rows
        self.tape.begin(step)
        self._given.manual_seed(mixed(self._streams[0], 2, step))
        return self.dress(self._benches[0].task, rows)

    def taken(self, step: int) -> Batch:
        """The minibatches in the task's own order, ``(replicas, examples, ...)``."""
        if step < self._taken:
            self._taken, self._batches = 0, self._begun()
        batches: list[Batch] = []
        while self._taken <= step:
            batches = [next(each) for each in self._batches]
            self._taken += 1
        return tuple(torch.stack(parts) for parts in zip(*batches, strict=True))

    def order(self, step: int) -> Tensor:
        """The indices of the examples in the minibatches, ``(replicas, examples)``."""
        examples = len(self.train[0])
        epoch, number = divmod(step, examples // self._size)
        if epoch != self._epoch:
            seeds = (mixed(stream, 0, epoch) for stream in self._streams)
            shuffled = [torch.randperm(examples, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
            self._orders, self._epoch = moved(torch.stack(shuffled), self._benches[0].device), epoch
        return self._orders[:, number * self._size : (number + 1) * self._size]

    def dress(self, task: Task, rows: Batch) -> Batch:
        """The training view of these examples, with the task's supplement; the tape must be at the step's beginning."""
        if not self.dressed:
            return rows
        with Routed(self.tape):
            return task.supplement(task.view(rows, self._given), self.train, self._given)

    def _begun(self) -> list[Iterator[Batch]]:
        return [bench.minibatches() for bench in self._benches] if self.own else []
