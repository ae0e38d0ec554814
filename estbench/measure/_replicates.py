"""Chunks of replicates, as fast as they can be had."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import torch
from torch import Tensor
from torch.func import vmap

from estbench.measure._graph import Graph, recorded, seed_generators

# chunks by which a graph has saved the time that it takes to record it
WORTHWHILE = 30


class Replicates:
    """Chunks of independent replicates of a function, by vmap.

    Where there are enough of them to be worth it, the function is recorded as a graph. Graphs that need nothing from
    outside run side by side, one on each thread of torch: a chunk on one core has no operation that waits for another.

    Args:
        function: one replicate, by name.
        size: replicates of a full chunk.
        chunks: how many full chunks there will be, about.
        together: how many are asked for at once.
    """

    def __init__(self, function: Callable[[], dict[str, Tensor]], size: int, chunks: int, together: int) -> None:
        self._many = vmap(lambda _: function(), randomness="different")
        self._size, self._chunks = size, chunks
        self._threads = min(torch.get_num_threads(), together)
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

    def draw(self, count: int, seeds: Sequence[int]) -> Iterable[dict[str, Tensor]]:
        """Chunks of ``count`` replicates ``(count, ...)`` by name, one for each seed."""
        if self._graph is None or count != self._size:
            return self._by_vmap(count, seeds)
        return self._side_by_side(self._pool, self._graph, seeds) if self._pool else map(self._graph, seeds)

    def _side_by_side(self, pool: Executor, graph: Graph, seeds: Sequence[int]) -> Iterator[dict[str, Tensor]]:
        waiting: deque[Future[dict[str, Tensor]]] = deque()
        for seed in seeds:
            waiting.append(pool.submit(graph, seed))
            # results that nobody has taken yet are few, so that memory does not grow
            if len(waiting) > self._threads:
                yield waiting.popleft().result()
        yield from (future.result() for future in waiting)

    def _by_vmap(self, count: int, seeds: Sequence[int]) -> Iterator[dict[str, Tensor]]:
        for seed in seeds:
            seed_generators(seed)
            yield {name: values.detach() for name, values in self._many(torch.empty(count)).items()}
