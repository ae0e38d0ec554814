"""Training minibatches whose place can be kept and found again."""

from collections.abc import Iterator
from typing import Any

from estbench.measure.base import Bench
from estbench.task import Batch, Task


class Minibatches:
    """The training minibatches of a bench, from their beginning.

    The place is the generator's state where an epoch began, and how many minibatches of it were taken; for a task
    with an order of its own, the beginning and all that were taken.

    Args:
        bench: the bench.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench, self._train = bench, bench.splits().train
        self._generator = bench.generator("minibatches")
        examples, own = len(self._train[0]), type(bench.task).minibatches is not Task.minibatches
        self._epoch = None if own else examples // min(bench.task.batch_size, examples)
        self._taken = 0
        self._begin()

    def __next__(self) -> Batch:
        if self._taken == self._epoch:
            self._origin, self._taken = self._generator.get_state(), 0
        self._taken += 1
        return next(self._batches)

    def state(self) -> dict[str, Any]:
        """The place."""
        return {"origin": self._origin, "taken": self._taken}

    def load(self, state: dict[str, Any]) -> None:
        """Goes to a place."""
        self._generator.set_state(state["origin"])
        self._begin()
        for _ in range(state["taken"]):
            next(self)

    def _begin(self) -> None:
        self._origin, self._taken = self._generator.get_state(), 0
        self._batches: Iterator[Batch] = self._bench.task.minibatches(self._train, self._generator)
