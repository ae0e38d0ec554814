"""Chunks of replicates, as fast as they can be had."""

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.func import vmap

from estbench.engine.moments.op_graph import Graph, recorded, seed_generators
from estbench.runtime import shared_generators

Reduced = TypeVar("Reduced")

# chunks by which a graph has saved the time that it takes to record it
WORTHWHILE = 30


class Replicates:
    """Chunks of independent replicates of a function, by vmap.

    Where there are enough of them to be worth it, the function is recorded as a graph. Graphs that need nothing from
    outside run side by side, one on each thread of torch: a chunk on one core has no operation that waits for another.

    Args:
        function: one replicate, by name.
        size: replicates of a full chunk.
        chunks: how many there will be, about.
    """

    def __init__(self, function: Callable[[], dict[str, Tensor]], size: int, chunks: int) -> None:
        self._many = vmap(lambda _: function(), randomness="different")
        self._size, self._chunks = size, chunks
        self._threads = torch.get_num_threads()
        self._graph: Graph | None = None
        self._pool: Executor | None = None

    def __enter__(self) -> Self:
        if self._chunks >= WORTHWHILE:
            self._graph = recorded(self._many, torch.empty(self._size), 0)
        if self._graph and self._graph.concurrent and self._threads > 1:
            self._before = torch.get_num_threads()
            torch.set_num_threads(1)
            self._pool = ThreadPoolExecutor(self._threads, initializer=torch.set_num_threads, initargs=(1,))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)
            torch.set_num_threads(self._before)

    def draw(
        self, chunks: Iterable[tuple[int, int]], reduced: Callable[[dict[str, Tensor]], Reduced]
    ) -> Iterator[Reduced]:
        """What is made of chunks of replicates, in their order.

        Args:
            chunks: how many replicates, and their seed.
            reduced: of replicates ``(count, ...)`` by name; called where they were drawn and are still in the caches.
        """
        waiting: deque[Callable[[], Reduced]] = deque()
        for count, seed in chunks:
            waiting.append(self._begun(count, seed, reduced))
            # results that nobody has taken yet are few, so that memory does not grow
            if len(waiting) > self._threads:
                yield waiting.popleft()()
        yield from (result() for result in waiting)

    def _begun(self, count: int, seed: int, reduced: Callable[[dict[str, Tensor]], Reduced]) -> Callable[[], Reduced]:
        """Begins with a chunk, if it needs nothing from outside; what waits for its result, or makes it."""
        if self._graph is None or count != self._size:
            return lambda: reduced(self._by_vmap(count, seed))
        graph = self._graph
        return self._pool.submit(lambda: reduced(graph(seed))).result if self._pool else lambda: reduced(graph(seed))

    def _by_vmap(self, count: int, seed: int) -> dict[str, Tensor]:
        seed_generators(seed)
        return {name: values.detach() for name, values in self._many(torch.empty(count)).items()}


class LoopedReplicates(contextlib.ExitStack):
    """Chunks of independent replicates of a function, one after another.

    Each has seeds of its own, of torch's generators and of those that NumPy and Python share.

    Args:
        function: one replicate, by name.
    """

    def __init__(self, function: Callable[[], dict[str, Tensor]]) -> None:
        super().__init__()
        self._function = function

    def __enter__(self) -> Self:
        self.enter_context(shared_generators.kept())
        return self

    def draw(
        self, chunks: Iterable[tuple[int, int]], reduced: Callable[[dict[str, Tensor]], Reduced]
    ) -> Iterator[Reduced]:
        """What is made of chunks of replicates, in their order.

        Args:
            chunks: how many replicates, and their seed.
            reduced: of replicates ``(count, ...)`` by name.
        """
        for count, seed in chunks:
            found = [self._at(int(own)) for own in np.random.SeedSequence(seed).generate_state(count, np.uint64)]
            yield reduced({name: torch.stack([each[name] for each in found]) for name in found[0]})

    def _at(self, seed: int) -> dict[str, Tensor]:
        seed_generators(seed >> 1)
        shared_generators.seed(seed)
        return {name: values.detach() for name, values in self._function().items()}
