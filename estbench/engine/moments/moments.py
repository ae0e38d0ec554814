"""The first two moments of a gradient estimate, accumulated over vectorised chunks of replicates."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from estbench.engine.moments.replicates import LoopedReplicates, Replicates
from estbench.runtime.memory import free

Gradients: TypeAlias = dict[str, Tensor]

BATCHES = 32


@dataclass(frozen=True)
class Moments:
    """Moments of one group of gradient entries.

    Args:
        n: number of replicates.
        means: mean gradient of each batch of replicates, ``(batches, entries)``, float64.
        variances: trace of the covariance of one estimate, from each batch, ``(batches,)``, float64.
        eps: machine epsilon of the dtype in which the estimates were computed.
    """

    n: int
    means: Tensor
    variances: Tensor
    eps: float

    @classmethod
    def exact(cls, gradient: Tensor) -> "Moments":
        """Moments of an exact gradient, with variance 0."""
        means = gradient.double().flatten().expand(BATCHES, -1)
        return cls(0, means, means.new_zeros(BATCHES), torch.finfo(gradient.dtype).eps)


Seeds: TypeAlias = Callable[[int, int], int]


def fresh(_batch: int, _start: int) -> int:
    """A seed drawn from torch's default generator."""
    return int(torch.randint(2**62, ()))


Weights: TypeAlias = Mapping[str, Tensor]


def moments(
    gradient: Callable[[], Gradients],
    replicates: int,
    chunk: int,
    seeds: Seeds = fresh,
    earlier: Mapping[str, Moments] | None = None,
    weights: Weights | None = None,
    *,
    looped: bool = False,
) -> dict[str, Moments]:
    """Moments of independent replicates of a gradient estimate.

    Args:
        gradient: one estimate by group; runs under vmap, unless it is looped.
        replicates: their number, rounded up to a multiple of the number of batches.
        chunk: how many replicates are computed at once, by each torch thread.
        seeds: maps the index of a batch's first replicate in a chunk to the seed of the chunk. Replicates that are
            added to earlier ones are therefore those of a single run, if the earlier ones end with a full chunk.
        earlier: moments of fewer replicates, to which these are added.
        weights: weights of the entries in the trace of the covariance, by group; 1 by default.
        looped: whether to draw replicates one after another.
    """
    running = {group: Running.resume(found, (weights or {}).get(group)) for group, found in (earlier or {}).items()}
    start = next(iter(running.values())).n[0] if running else 0
    per_batch = max(2, -(-replicates // BATCHES))
    # a large chunk contains replicates of all batches, a small one of a single batch: sums per chunk stay small in both
    # cases
    wide = chunk >= 2 * BATCHES
    length, width = (chunk // BATCHES, BATCHES) if wide else (chunk, 1)
    firsts, spans = range(0, BATCHES, width), _spans(start, per_batch, length)
    places = [(begin, end, first) for begin, end in spans for first in firsts]
    chunks = [((end - begin) * width, seeds(first, begin)) for begin, end, first in places]
    with LoopedReplicates(gradient) if looped else Replicates(gradient, length * width, len(chunks)) as source:
        drawn = source.draw(chunks, partial(_sums, width=width, weights=weights or {}))
        for (*_, first), found in zip(places, drawn, strict=True):
            for group, sums in found.items():
                running.setdefault(group, Running((weights or {}).get(group))).merge(sums, first)
    return {group: kept.moments() for group, kept in running.items()}


def _spans(start: int, stop: int, length: int) -> list[tuple[int, int]]:
    """Splits a range at multiples of a length."""
    begins = [start, *range(start - start % length + length, stop, length)]
    return [(begin, end) for begin, end in pairwise([*begins, stop]) if begin < end]


def _sums(found: Gradients, width: int, weights: Weights) -> "dict[str, Sums]":
    """The sums of a chunk of replicates of ``width`` batches, by group."""
    return {
        name: Sums.of(values.reshape(-1, width, values[0].numel()), weights.get(name)) for name, values in found.items()
    }


@dataclass(frozen=True)
class Sums:
    """The sums of a chunk of replicates, to be added to moments.

    Args:
        count: number of replicates of each batch.
        mean: ``(batches, entries)``, float64.
        spread: sums of squared deviations over replicates and entries, ``(batches,)``, float64.
        eps: machine epsilon of the dtype in which the replicates were computed.
    """

    count: int
    mean: Tensor
    spread: Tensor
    eps: float

    @classmethod
    def of(cls, values: Tensor, weights: Tensor | None = None) -> "Sums":
        """The sums of replicates ``(count, batches, entries)``, with weights of the entries."""
        count = len(values)
        # deviations from a value nearby are small, so their sums are accurate enough in the values' own dtype
        deviations = values - values[0]
        mean = deviations.sum(0).double() / count
        squares = deviations.square_().sum(0).double().addcmul_(mean, mean, value=-count).clamp_min_(0)
        return cls(count, mean.add_(values[0]), _total(squares, weights), torch.finfo(values.dtype).eps)


def _total(squares: Tensor, weights: Tensor | None) -> Tensor:
    """The weighted sum over entries of ``(batches, entries)``."""
    return (squares if weights is None else squares * weights).sum(-1, dtype=torch.float64)


class Running:
    """Means and sums of squared deviations of batches, merged chunk by chunk (Chan, Golub & LeVeque 1983).

    Args:
        weights: weights of the entries in the sums ``(entries,)``; None for 1.
    """

    mean: Tensor
    spread: Tensor
    eps: float

    def __init__(self, weights: Tensor | None = None) -> None:
        self.n = [0] * BATCHES
        self._weights = weights

    @classmethod
    def resume(cls, found: Moments, weights: Tensor | None = None) -> "Running":
        """An accumulator that continues from these moments."""
        running = cls(weights)
        n = found.n // BATCHES
        running.n, running.mean, running.eps = [n] * BATCHES, found.means.clone(), found.eps
        running.spread = found.variances * (n - 1)
        return running

    def add(self, values: Tensor, first: int) -> None:
        """Adds replicates ``(count, batches, entries)`` to consecutive batches, beginning with ``first``."""
        self.merge(Sums.of(values, self._weights), first)

    def merge(self, sums: Sums, first: int) -> None:
        """Adds sums to consecutive batches, beginning with ``first``."""
        width, entries = sums.mean.shape
        if not any(self.n):
            self.eps = sums.eps
            self.mean = sums.mean.new_zeros(BATCHES, entries)
            self.spread = sums.spread.new_zeros(BATCHES)
        batches, before = slice(first, first + width), self.n[first]
        total = before + sums.count
        gap = sums.mean - self.mean[batches]
        self.mean[batches].add_(gap, alpha=sums.count / total)
        self.spread[batches] += sums.spread
        if before:
            self.spread[batches] += _total(gap.square_(), self._weights) * (before * sums.count / total)
        self.n[batches] = [total] * width

    def moments(self) -> Moments:
        """The moments of all replicates; every batch must have the same number."""
        return Moments(sum(self.n), self.mean, self.spread / (self.n[0] - 1), self.eps)


# with more, buffers do not fit into the caches of a CPU, and larger chunks gain nothing; twice as much for replicates
# below a size, whose operations take longer to call than to compute
ENOUGH, SMALL = 2**26, 2**20
# with these a GPU is fully used; the first is at most a quarter of the memory of most cards
ENOUGH_ON_GPU, REPLICATES_ON_GPU = 2**32, 2**15
# kernels count the entries of a tensor in 32 bits, with a sign
INDICES = 2**31 - 1


def chunk_size(working_set: int, budget: int, device: torch.device, entries: int = 1) -> int:
    """How many replicates are computed at once: the largest power of two that fits into the budget, and at least one.

    The chunk decides which random numbers a replicate gets. Therefore it does not depend on the free memory of a CPU,
    and on that of a GPU only if a quarter of it is less than 4 GiB. It is recorded with the results and is also an
    option.

    Args:
        working_set: bytes of one replicate.
        budget: bytes in all; 0 takes 64 MiB on a CPU, or 128 MiB for replicates below 1 MiB, and on a GPU a quarter of
            what is free, rounded down to a power of two, 4 GiB at most, for 32,768 replicates at most.
        device: the device of the replicates.
        entries: size of the largest tensor of a replicate; that of the whole chunk must fit into kernels' index type.
    """
    most = INDICES // max(entries, 1)
    if not budget and device.type == "cuda":
        quarter = max(free(device) // 4, 1)
        budget = min(2 ** (quarter.bit_length() - 1), ENOUGH_ON_GPU)
        most = min(most, REPLICATES_ON_GPU)
    elif not budget:
        budget = ENOUGH if working_set >= SMALL else 2 * ENOUGH
    # a power of two, so that chunks divide common numbers of replicates
    return 2 ** (max(1, min(budget // max(working_set, 1), most)).bit_length() - 1)


class _Tally(TorchDispatchMode):
    """Sums the bytes of all computed tensors, and finds the largest of them."""

    computed = entries = 0

    def __torch_dispatch__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        outputs = result if isinstance(result, (tuple, list)) else (result,)
        made = [t for t in outputs if isinstance(t, Tensor)]
        self.computed += sum(t.nbytes for t in made)
        self.entries = max([self.entries, *(t.numel() for t in made)])
        return result


def working_set(gradient: Callable[[], Gradients]) -> int:
    """Bytes of all tensors that one estimate computes: an upper bound on the memory of one more replicate."""
    return _tally(gradient).computed


def largest_tensor(gradient: Callable[[], Gradients]) -> int:
    """The number of entries of the largest tensor that one estimate computes."""
    return _tally(gradient).entries


def _tally(gradient: Callable[[], Gradients]) -> _Tally:
    with _Tally() as tally:  # type: ignore[no-untyped-call]
        gradient()
    return tally
