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
    """The training minibatches of replicas: their order, and what training sees of them.

    All depend on the seed and the step alone, so that every estimator sees the same. Their random numbers are the
    CPU's and are copied to the device, so that a seed has the same minibatches on every device. A task with an order
    of its own is asked for it from its beginning.

    Args:
        benches: one for each replica; of tasks that differ in numbers only, with the same data.
    """

    def __init__(self, benches: Sequence[Bench]) -> None:
        self._benches, self.train = benches, benches[0].splits().train
        task, device = benches[0].task, benches[0].device
        kind = type(task)
        self.own = kind.minibatches is not Task.minibatches
        self.dressed = kind.view is not Task.view or kind.supplement is not Task.supplement
        self._streams = [bench.stream("minibatches") for bench in benches]
        self.tape = Tape([mixed(stream, 1) for stream in self._streams], device, source=torch.device("cpu"))
        # what no tape holds comes from the generator that is given to views
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
        """Which examples the minibatches hold, ``(replicas, examples)``."""
        examples = len(self.train[0])
        epoch, number = divmod(step, examples // self._size)
        if epoch != self._epoch:
            seeds = (mixed(stream, 0, epoch) for stream in self._streams)
            shuffled = [torch.randperm(examples, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
            self._orders, self._epoch = moved(torch.stack(shuffled), self._benches[0].device), epoch
        return self._orders[:, number * self._size : (number + 1) * self._size]

    def dress(self, task: Task, rows: Batch) -> Batch:
        """What training sees of these examples, with what it adds to them; the tape is at the step's beginning."""
        if not self.dressed:
            return rows
        with Routed(self.tape):
            return task.supplement(task.view(rows, self._given), self.train, self._given)

    def _begun(self) -> list[Iterator[Batch]]:
        return [bench.minibatches() for bench in self._benches] if self.own else []
