"""Computes chunks of replicates by vmap, by recorded graphs, or in a loop."""

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

from estbench.engine.op_graph import Graph, recorded, seed_generators
from estbench.runtime import shared_generators

Reduced = TypeVar("Reduced")

# number of chunks after which a graph has saved the time of recording it: 8 to 11 on a VAE, a toy and a belief network
WORTHWHILE = 12


class Replicates:
    """Chunks of independent replicates of a function, by vmap.

    If there are enough chunks to make it worthwhile, the function is recorded as a graph. Graphs that use no external
    state run in parallel, one on each torch thread; on one core, no operation has to wait for other threads.

    Args:
        function: one replicate, by name.
        size: number of replicates in a full chunk.
        chunks: approximate number of chunks.
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
        """Yields the reduced chunks of replicates, in order.

        Args:
            chunks: number of replicates and seed of each chunk.
            reduced: of replicates ``(count, ...)`` by name; called where they were drawn and are still in the caches.
        """
        waiting: deque[Callable[[], Reduced]] = deque()
        for count, seed in chunks:
            waiting.append(self._begun(count, seed, reduced))
            # only a few results wait to be consumed, so that memory does not grow
            if len(waiting) > self._threads:
                yield waiting.popleft()()
        yield from (result() for result in waiting)

    def _begun(self, count: int, seed: int, reduced: Callable[[dict[str, Tensor]], Reduced]) -> Callable[[], Reduced]:
        """Starts a chunk in the background if it can run in parallel; returns a function that gives its result."""
        if self._graph is None or count != self._size:
            return lambda: reduced(self._by_vmap(count, seed))
        graph = self._graph
        return self._pool.submit(lambda: reduced(graph(seed))).result if self._pool else lambda: reduced(graph(seed))

    def _by_vmap(self, count: int, seed: int) -> dict[str, Tensor]:
        seed_generators(seed)
        return {name: values.detach() for name, values in self._many(torch.empty(count)).items()}


class LoopedReplicates(contextlib.ExitStack):
    """Chunks of independent replicates of a function, one after another.

    Each chunk seeds torch's generators and the global ones of NumPy and Python.

    Args:
        function: one replicate, by name.
    """

    def __init__(self, function: Callable[[], dict[str, Tensor]]) -> None:
        super().__init__()
        self._function = function

    def __enter__(self) -> Self:
        self.enter_context(shared_generators.restored())
        return self

    def draw(
        self, chunks: Iterable[tuple[int, int]], reduced: Callable[[dict[str, Tensor]], Reduced]
    ) -> Iterator[Reduced]:
        """Yields the reduced chunks of replicates, in order.

        Args:
            chunks: number of replicates and seed of each chunk.
            reduced: of replicates ``(count, ...)`` by name.
        """
        for count, seed in chunks:
            found = [self._at(int(own)) for own in np.random.SeedSequence(seed).generate_state(count, np.uint64)]
            yield reduced({name: torch.stack([each[name] for each in found]) for name in found[0]})

    def _at(self, seed: int) -> dict[str, Tensor]:
        seed_generators(seed >> 1)
        shared_generators.seed(seed)
        return {name: values.detach() for name, values in self._function().items()}
