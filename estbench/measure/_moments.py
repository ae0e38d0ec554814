"""The first two moments of a gradient estimate, streamed over replicates in vectorised chunks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from estbench.measure._replicates import Replicates
from estbench.memory import free

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
) -> dict[str, Moments]:
    """Moments of independent replicates of a gradient estimate.

    Args:
        gradient: one estimate by group; runs under vmap.
        replicates: how many, rounded up to a multiple of the number of batches.
        chunk: how many replicates are in memory at once; as many for every thread of torch, where there are several.
        seeds: the seed of the replicates of a batch from the one at this index on; so replicates that are added to
            earlier ones are those of one go, wherever a chunk ends with the earlier ones.
        earlier: moments of fewer replicates that these are added to.
        weights: of the entries in the trace of the covariance, by group; 1 by default.
    """
    running = {group: Running.resume(found, (weights or {}).get(group)) for group, found in (earlier or {}).items()}
    start = next(iter(running.values())).n[0] if running else 0
    per_batch = max(2, -(-replicates // BATCHES))
    # a large chunk spans all batches, a small one is of one batch: both keep what is added up per chunk small
    wide = chunk >= 2 * BATCHES
    length, width = (chunk // BATCHES, BATCHES) if wide else (chunk, 1)
    together = BATCHES // width
    with Replicates(gradient, length * width, -(-(per_batch - start) // length) * together, together) as source:
        while start < per_batch:
            count, firsts = min(length - start % length, per_batch - start), range(0, BATCHES, width)
            drawn = source.draw(count * width, [seeds(first, start) for first in firsts])
            for first, found in zip(firsts, drawn, strict=True):
                for group, values in found.items():
                    kept = running.setdefault(group, Running((weights or {}).get(group)))
                    kept.add(values.reshape(count, width, -1), first)
            start += count
    return {group: kept.moments() for group, kept in running.items()}


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
        count, width, entries = values.shape
        if not any(self.n):
            self.eps = torch.finfo(values.dtype).eps
            self.mean = values.new_zeros(BATCHES, entries, dtype=torch.float64)
            self.spread = values.new_zeros(BATCHES, dtype=torch.float64)
        batches, before = slice(first, first + width), self.n[first]
        # deviations from any value nearby are small, so that their sums are exact enough in the values' own precision
        nearby = self.mean[batches].to(values.dtype) if before else values[0]
        deviations = values - nearby
        mean = deviations.sum(0).double() / count
        spread = self._total(deviations.square_().sum(0).double().addcmul_(mean, mean, value=-count).clamp_min_(0))
        gap, total = mean + nearby.double() - self.mean[batches], before + count
        self.mean[batches] += gap * (count / total)
        if before:
            spread += self._total(gap.square_()) * (before * count / total)
        self.spread[batches] += spread
        self.n[batches] = [total] * width

    def _total(self, squares: Tensor) -> Tensor:
        """The sum over entries ``(batches, entries)``."""
        weighted = squares if self._weights is None else squares * self._weights
        return weighted.sum(-1, dtype=torch.float64)

    def moments(self) -> Moments:
        """The moments of all of them; every batch has as many as the others."""
        return Moments(sum(self.n), self.mean, self.spread / (self.n[0] - 1), self.eps)


# beyond this, buffers leave the caches of a CPU and more replicates at once gain nothing
ENOUGH = 2**27


def chunk_size(working_set: int, budget: int, device: torch.device) -> int:
    """The largest power of two of replicates of this many bytes that fit into the budget; at least one.

    Args:
        working_set: bytes of one replicate.
        budget: bytes in all; 0 takes a quarter of what is free, rounded down to a power of two, and on a CPU
            128 MiB at most.
        device: that they are on.
    """
    if not budget:
        quarter = max(free(device) // 4, 1)
        budget = 2 ** (quarter.bit_length() - 1)
        budget = budget if device.type == "cuda" else min(budget, ENOUGH)
    # a power of two, so that chunks divide the usual numbers of replicates
    return 2 ** (max(1, budget // max(working_set, 1)).bit_length() - 1)


class _Tally(TorchDispatchMode):
    """Adds up the bytes of everything that is computed."""

    computed = 0

    def __torch_dispatch__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        outputs = result if isinstance(result, (tuple, list)) else (result,)
        self.computed += sum(t.numel() * t.element_size() for t in outputs if isinstance(t, Tensor))
        return result


def working_set(gradient: Callable[[], Gradients]) -> int:
    """Bytes that one estimate computes along its way: what one more replicate in flight costs at most."""
    with _Tally() as tally:  # type: ignore[no-untyped-call]
        gradient()
    return tally.computed
