"""The first two moments of a gradient estimate, streamed over replicates in vectorised chunks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.func import vmap
from torch.utils._python_dispatch import TorchDispatchMode

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


Sow: TypeAlias = Callable[[int, int], None]


def moments(
    gradient: Callable[[], Gradients],
    replicates: int,
    chunk: int,
    sow: Sow | None = None,
    earlier: Mapping[str, Moments] | None = None,
) -> dict[str, Moments]:
    """Moments of independent replicates of a gradient estimate.

    Args:
        gradient: one estimate by group; runs under vmap.
        replicates: how many, rounded up to a multiple of the number of batches.
        chunk: how many replicates are in memory at once.
        sow: seeds the replicates of a batch from the one at this index on; so replicates that are added to
            earlier ones are those of one go, wherever a chunk ends with the earlier ones.
        earlier: moments of fewer replicates that these are added to.
    """
    per_batch = max(2, -(-replicates // BATCHES))
    batches: list[dict[str, _Running]] = []
    for batch in range(BATCHES):
        running = {group: _Running.resume(found, batch) for group, found in (earlier or {}).items()}
        start = next(iter(running.values())).n if running else 0
        while start < per_batch:
            count = min(chunk - start % chunk, per_batch - start)
            if sow:
                sow(batch, start)
            many = vmap(lambda _: gradient(), randomness="different")(torch.empty(count))
            for group, values in many.items():
                running.setdefault(group, _Running()).add(values.detach().flatten(1))
            start += count
        batches.append(running)
    return {group: _moments([batch[group] for batch in batches]) for group in batches[0]}


class _Running:
    """Mean and sum of squared deviations, merged chunk by chunk (Chan, Golub & LeVeque 1983)."""

    n: int = 0
    mean: Tensor
    spread: Tensor
    eps: float

    @classmethod
    def resume(cls, found: Moments, batch: int) -> "_Running":
        """One batch of moments, to be added to."""
        running = cls()
        running.n, running.mean, running.eps = found.n // BATCHES, found.means[batch], found.eps
        running.spread = found.variances[batch] * (running.n - 1)
        return running

    def add(self, values: Tensor) -> None:
        count = len(values)
        self.eps = torch.finfo(values.dtype).eps
        mean = values.mean(0, dtype=torch.float64)
        spread = (values - mean.to(values.dtype)).square().sum(dtype=torch.float64)
        if self.n == 0:
            self.n, self.mean, self.spread = count, mean, spread
            return
        gap, total = mean - self.mean, self.n + count
        self.mean = self.mean + gap * (count / total)
        self.spread = self.spread + spread + gap.square().sum() * (self.n * count / total)
        self.n = total


def _moments(batches: list[_Running]) -> Moments:
    return Moments(
        sum(batch.n for batch in batches),
        torch.stack([batch.mean for batch in batches]),
        torch.stack([batch.spread / (batch.n - 1) for batch in batches]),
        batches[0].eps,
    )


def chunk_size(working_set: int, budget: int) -> int:
    """How many replicates of this many bytes fit into the budget; at least one."""
    return max(1, budget // max(working_set, 1))


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
