"""The first two moments of a gradient estimate, streamed over replicates in vectorised chunks."""

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
        n: replicates behind them.
        means: mean gradient of each batch of replicates, ``(batches, entries)``, float64.
        variances: trace of the covariance of one estimate, from each batch, ``(batches,)``, float64.
        eps: relative rounding error of the precision that the estimates were computed in.
    """

    n: int
    means: Tensor
    variances: Tensor
    eps: float

    @classmethod
    def exact(cls, gradient: Tensor) -> "Moments":
        """Moments of a gradient that is known."""
        means = gradient.double().flatten().expand(BATCHES, -1)
        return cls(0, means, means.new_zeros(BATCHES), torch.finfo(gradient.dtype).eps)


Seeds: TypeAlias = Callable[[int, int], int]


def fresh(_batch: int, _start: int) -> int:
    """A seed that torch's default generator gives."""
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
        replicates: how many, rounded up to a multiple of the number of batches.
        chunk: how many replicates are in memory at once; as many for every thread of torch, where there are several.
        seeds: the seed of the replicates of a batch from the one at this index on; so replicates that are added to
            earlier ones are those of one go, wherever a chunk ends with the earlier ones.
        earlier: moments of fewer replicates that these are added to.
        weights: of the entries in the trace of the covariance, by group; 1 by default.
        looped: whether to draw replicates one after another.
    """
    running = {group: Running.resume(found, (weights or {}).get(group)) for group, found in (earlier or {}).items()}
    start = next(iter(running.values())).n[0] if running else 0
    per_batch = max(2, -(-replicates // BATCHES))
    # a large chunk spans all batches, a small one is of one batch: both keep what is added up per chunk small
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
    """Parts of a range, each to the next multiple of a length."""
    begins = [start, *range(start - start % length + length, stop, length)]
    return [(begin, end) for begin, end in pairwise([*begins, stop]) if begin < end]


def _sums(found: Gradients, width: int, weights: Weights) -> "dict[str, Sums]":
    """The sums of a chunk of replicates of ``width`` batches, by group."""
    return {
        name: Sums.of(values.reshape(-1, width, values[0].numel()), weights.get(name)) for name, values in found.items()
    }


@dataclass(frozen=True)
class Sums:
    """What a chunk of replicates adds to moments.

    Args:
        count: replicates of each batch.
        mean: ``(batches, entries)``, float64.
        spread: sums of squared deviations over replicates and entries, ``(batches,)``, float64.
        eps: relative rounding error of the precision that the replicates were computed in.
    """

    count: int
    mean: Tensor
    spread: Tensor
    eps: float

    @classmethod
    def of(cls, values: Tensor, weights: Tensor | None = None) -> "Sums":
        """Those of replicates ``(count, batches, entries)``, with weights of the entries."""
        count = len(values)
        # deviations from any value nearby are small, so that their sums are exact enough in the values' own precision
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
        weights: of the entries in the sums ``(entries,)``; None for 1.
    """

    mean: Tensor
    spread: Tensor
    eps: float

    def __init__(self, weights: Tensor | None = None) -> None:
        self.n = [0] * BATCHES
        self._weights = weights

    @classmethod
    def resume(cls, found: Moments, weights: Tensor | None = None) -> "Running":
        """Moments, to be added to."""
        running = cls(weights)
        n = found.n // BATCHES
        running.n, running.mean, running.eps = [n] * BATCHES, found.means.clone(), found.eps
        running.spread = found.variances * (n - 1)
        return running

    def add(self, values: Tensor, first: int) -> None:
        """Adds replicates ``(count, batches, entries)`` to as many batches, from the ``first`` on."""
        self.merge(Sums.of(values, self._weights), first)

    def merge(self, sums: Sums, first: int) -> None:
        """Adds the replicates behind sums to as many batches as they are of, from the ``first`` on."""
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
        """The moments of all of them; every batch has as many as the others."""
        return Moments(sum(self.n), self.mean, self.spread / (self.n[0] - 1), self.eps)


# beyond this, buffers leave the caches of a CPU and more replicates at once gain nothing; twice as much for replicates
# below a size, whose operations take longer to call than to compute
ENOUGH, SMALL = 2**26, 2**20
# beyond these a GPU is busy anyhow; below the first of them lies a quarter of the memory of most cards
ENOUGH_ON_GPU, REPLICATES_ON_GPU = 2**32, 2**15
# kernels count the entries of a tensor in 32 bits, with a sign
INDICES = 2**31 - 1


def chunk_size(working_set: int, budget: int, device: torch.device, entries: int = 1) -> int:
    """How many replicates are in flight at once: the largest power of two that fits into the budget; at least one.

    The chunk decides which random numbers a replicate gets. So on a CPU it does not depend on what memory is free, and
    on a GPU it does only where a quarter of that is less than 4 GiB; it is recorded, and can be asked for.

    Args:
        working_set: bytes of one replicate.
        budget: bytes in all; 0 takes 64 MiB on a CPU, or 128 MiB for replicates below 1 MiB, and on a GPU a quarter of
            what is free, rounded down to a power of two, 4 GiB at most, for 32,768 replicates at most.
        device: that they are on.
        entries: of the largest tensor of a replicate; of all replicates in flight together they can be counted.
    """
    most = INDICES // max(entries, 1)
    if not budget and device.type == "cuda":
        quarter = max(free(device) // 4, 1)
        budget = min(2 ** (quarter.bit_length() - 1), ENOUGH_ON_GPU)
        most = min(most, REPLICATES_ON_GPU)
    elif not budget:
        budget = ENOUGH if working_set >= SMALL else 2 * ENOUGH
    # a power of two, so that chunks divide the usual numbers of replicates
    return 2 ** (max(1, min(budget // max(working_set, 1), most)).bit_length() - 1)


class _Tally(TorchDispatchMode):
    """Adds up the bytes of everything that is computed, and finds the largest tensor among it."""

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
    """Bytes that one estimate computes along its way: what one more replicate in flight costs at most."""
    return _tally(gradient).computed


def largest_tensor(gradient: Callable[[], Gradients]) -> int:
    """Entries of the largest tensor that one estimate computes along its way."""
    return _tally(gradient).entries


def _tally(gradient: Callable[[], Gradients]) -> _Tally:
    with _Tally() as tally:  # type: ignore[no-untyped-call]
        gradient()
    return tally
