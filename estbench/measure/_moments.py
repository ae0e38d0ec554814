"""The first two moments of a gradient estimate, streamed over replicates in vectorised chunks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.func import vmap
from torch.utils._python_dispatch import TorchDispatchMode

from estbench.stats import Floats, Interval, SquaredNorm, jackknife, mean_interval

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


class Comparison:
    """What the moments of an estimate and of its reference say, with intervals.

    Inner products are averaged over pairs of *different* batches, whose noise is independent: so the noise of
    neither the estimate nor the reference inflates them, and both enter the intervals.

    Args:
        estimate: moments of the estimator.
        reference: moments of the reference; None where there is none.
    """

    def __init__(self, estimate: Moments, reference: Moments | None) -> None:
        own = estimate.means
        self._own = _gram(own, own)
        self._trace = estimate.variances.cpu().numpy()
        if reference is not None:
            error = own - reference.means
            self._across = _gram(own, reference.means)
            self._norm = _gram(reference.means, reference.means)
            self._error = _gram(error, error)
            # what rounding alone can make of two equal gradients is no bias
            rounding = (100 * max(estimate.eps, reference.eps)) ** 2
            if np.abs(self._error).max() <= rounding * np.abs(self._norm).max():
                self._error = np.zeros_like(self._error)

    def variance(self) -> Interval:
        """Trace of the covariance of one estimate."""
        return mean_interval(self._trace)

    def squared_bias(self) -> Interval:
        """Squared norm of the bias; may come out negative."""
        return SquaredNorm.of(self._error).interval()

    def unbiased_p(self) -> float:
        """The p-value of "there is no bias"; 0 where there is one and no noise to hide it."""
        squared = SquaredNorm.of(self._error)
        return 0.0 if squared.base == 0 < squared.value else squared.p

    def bias(self) -> Interval:
        """Norm of the bias; its lower end is 0 where the bias is below the resolution of the replicates."""
        return _root(self.squared_bias())

    def relative_bias(self) -> Interval:
        """Norm of the bias over the norm of the reference."""
        return _root(SquaredNorm.of(self._error).interval(per=SquaredNorm.of(self._norm)))

    def mse(self) -> Interval:
        """Mean squared error of one estimate: variance and squared bias."""
        return self._jackknife(lambda w: _mean(self._trace, w) + _pairs(self._error, w))

    def snr(self) -> Interval:
        """Norm of the mean over the root of the variance."""
        return self._jackknife(lambda w: _ratio(max(_pairs(self._own, w), 0), _mean(self._trace, w)) ** 0.5)

    def cosine(self) -> Interval:
        """Cosine between the mean of the estimate and the reference."""
        return Interval(*np.clip(self._jackknife(self._cosine), -1.0, 1.0).tolist())

    def _cosine(self, weights: Floats) -> float:
        norms = max(_pairs(self._own, weights), 0) * max(_pairs(self._norm, weights), 0)
        return _ratio(_pairs(self._across, weights), norms**0.5)

    def _jackknife(self, statistic: Callable[[Floats], float]) -> Interval:
        return jackknife(statistic, len(self._trace))


def _root(squared: Interval) -> Interval:
    return Interval(*np.sqrt(np.maximum(squared, 0.0)).tolist())


def _gram(left: Tensor, right: Tensor) -> Floats:
    return (left @ right.T).cpu().numpy()


def _mean(values: Floats, weights: Floats) -> float:
    return float(weights @ values / weights.sum())


def _pairs(gram: Floats, weights: Floats) -> float:
    """Mean of the entries off the diagonal, among the batches that are used."""
    used = weights.sum()
    total = weights @ gram @ weights - (weights**2) @ np.diag(gram)
    return float(total / (used * (used - 1)))


def _ratio(above: float, below: float) -> float:
    return above / below if below > 0 else float("nan")


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
