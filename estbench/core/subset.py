r"""The subset node: k of n items.

.. math:: p(S) = \frac{\exp \sum_{i \in S} \ell_i}{\sum_{|T| = k} \exp \sum_{i \in T} \ell_i}, \qquad |S| = k

This is the conditional Bernoulli distribution: independent bits with these logits, given that k of them are 1. The
k items with the largest of logits plus Gumbel noise (Gumbel top-k) are of another distribution, sampling in sequence
without replacement; for k = 1 both are the categorical distribution.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from estbench.core import logits as limits
from estbench.core import subset_sums as sums
from estbench.core.base_node import Node
from estbench.core.noise import rand


@dataclass(frozen=True, eq=False, init=False)
class Subset(Node):
    r"""A subset of k items: logits ``(*batch, items)``, values 0 and 1 of which k are 1; uniform noise.

    A logit of minus infinity keeps an item out of every subset, and one of plus infinity keeps it in; so do logits
    that are 5,000 or more below the k-th largest, or above the next. Sampling, log-probabilities and means take
    of the order of :math:`n k \log n` operations in :math:`\log_2 n` steps.

    More than twelve public methods, because it defines what ``Node`` leaves to kinds of nodes.

    Args:
        logits: ``(*batch, items)``.
        k: how many items a subset has, from 1 to all.
        given: the input from which the logits were computed, ``(*batch, features)``.

    Raises:
        TypeError: the logits are not a floating-point tensor, or ``k`` is not a whole number.
        ValueError: there are fewer than k items, or masks leave no subset of k. The latter is not checked on a GPU or
            under transforms of ``torch.func``; ``Estimator.prepare`` checks it everywhere.
    """

    k: int = field(kw_only=True)

    event_ndim = 1
    layout = "(*batch, items)"

    def __init__(self, logits: Tensor, k: int, given: Tensor | None = None) -> None:
        if isinstance(k, bool) or not isinstance(k, int):
            raise TypeError(f"Subset takes a whole number k of items; got {k!r}")
        vars(self).update(logits=logits, given=given, k=k)
        self.__post_init__()
        if not 1 <= k <= self.logits.shape[-1]:
            raise ValueError(f"Subset takes 1 to {self.logits.shape[-1]} of {self.logits.shape[-1]} items; got k = {k}")

    @property
    def cardinality(self) -> int:
        """The number of subsets."""
        return math.comb(self.logits.shape[-1], self.k)

    def _bounded(self, logits: Tensor) -> tuple[Tensor, bool]:
        return (logits, False) if not 1 <= self.k <= logits.shape[-1] else limits.bounded_subset(logits, self.k)

    def _shown(self, logits: Tensor) -> Tensor:
        never, always = limits.subset_masks(logits, self.k)
        last = limits.last_of_subset(logits, self.k)
        shown = last.clamp(-limits.REACH, limits.REACH)
        return torch.where(always, shown + limits.SHOWN, torch.where(never, shown - limits.SHOWN, logits))

    @property
    def free(self) -> Tensor:
        """Which items are neither always nor never in the subset."""
        never, always = limits.subset_masks(self.logits, self.k)
        return ~(never | always)

    @property
    def always(self) -> Tensor:
        """Which items masks keep in every subset."""
        return limits.subset_masks(self.logits, self.k)[1]

    @property
    def left(self) -> Tensor:
        """How many items masks leave to be chosen, ``(*batch, 1)``, as floating-point numbers."""
        size = torch.full_like(self.logits[..., :1].detach(), self.k)
        return size - self.always.sum(-1, keepdim=True) if self.masks else size

    def refuse_unusable(self, name: str) -> None:
        """Refuses logits that define no distribution, on every device."""
        limits.refuse_no_subset(self.logits, self.k)
        super().refuse_unusable(name)

    @property
    def mean(self) -> Tensor:
        """The probabilities of items to be in the subset, which sum to k."""
        weights, size, always = self._weights()
        found = sums.inclusions(sums.tree(weights, self.k), size)[..., : weights.shape[-1]].exp()
        return found if always is None else torch.where(always, 1.0, found)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of a subset; linear in the value, and of relaxed values right where k of them sum to k."""
        value = value.to(self.logits.dtype)
        weights, size, always = self._weights()
        root = sums.tree(weights, self.k)[-1][..., 0, :]
        if always is None:
            return (value * weights).sum(-1) - root[..., self.k]
        normaliser = root.gather(-1, size.long())[..., 0]
        never = weights == sums.NEVER
        violations = torch.where(always, 1 - value, torch.where(never, value, 0.0)).sum(-1)
        own = (value * torch.where(never, 0.0, weights)).sum(-1)
        return own - normaliser - limits.REACH * violations

    def sample(self) -> Tensor:
        """A subset, as 0 and 1 in the shape of the logits."""
        return self.discretise(self.noise())

    def noise(self) -> Tensor:
        """Uniform noise, ``(*batch, choices)``: a number for each division of a group of items into halves."""
        return rand((*self.logits.shape[:-1], sums.uniforms_needed(self.logits.shape[-1])), self.logits)

    def discretise(self, noise: Tensor) -> Tensor:
        """The subset that uniform noise determines; similar logits and equal noise give similar subsets."""
        weights, size, always = self._weights()
        weights = weights.detach()
        found = sums.divided(sums.tree(weights, self.k), size, noise)[..., : weights.shape[-1]]
        return found if always is None else torch.where(always, 1.0, found)

    def mean_slope(self, direction: Tensor) -> Tensor:
        """The covariance matrix of the items, which is the Jacobian of the mean, times a direction."""
        logits = self.logits.detach().expand(direction.shape)
        pull = torch.func.vjp(lambda logits: self.arranged(logits).mean, logits)[1]
        found: Tensor = pull(direction)[0]
        return found

    def enumerate_support(self) -> Tensor:
        """All subsets, ``(cardinality, *ones, items)``, those with the first items first."""
        items = self.logits.shape[-1]
        index = torch.combinations(torch.arange(items, device=self.logits.device), self.k)
        value = torch.zeros(len(index), items, dtype=self.logits.dtype, device=self.logits.device)
        return value.scatter(-1, index, 1.0).reshape(-1, *(1,) * self.batch_ndim, items)

    def permitted(self, value: Tensor) -> Tensor:
        """The subsets, with those that a mask excludes replaced by the most probable one."""
        never, always = limits.subset_masks(self.logits, self.k)
        wrong = ((never & (value > 0.5)) | (always & (value < 0.5))).any(-1, keepdim=True)
        return torch.where(wrong, self.most_probable(), value)

    def most_probable(self) -> Tensor:
        """The k items with the largest logits."""
        items = self.logits.detach().topk(self.k, -1).indices
        return torch.zeros_like(self.logits).scatter(-1, items, 1.0)

    def _weights(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """Log-weights of items about the k-th largest logit, ``left``, and ``always``, or None if nothing is masked."""
        weights = self.logits - limits.last_of_subset(self.logits, self.k)
        if not self.masks:
            return weights, self.left, None
        return torch.where(self.free, weights, sums.NEVER), self.left, self.always
