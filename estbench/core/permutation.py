r"""The permutation node: the Plackett-Luce distribution.

.. math:: q(\pi) = \prod_{j=1}^n \frac{\exp \ell_{\pi_j}}{\sum_{i \ge j} \exp \ell_{\pi_i}}

where :math:`\pi_j` is the item at place j: items are chosen one after another without replacement, each in proportion
to the exponential of its logit. Sorting logits plus Gumbel noise gives an exact sample.

Reference: Plackett (1975), https://doi.org/10.2307/2346567; Yellott (1977),
https://doi.org/10.1016/0022-2496(77)90026-8, on the Gumbel noise
"""

import itertools
import math

import torch
from torch import Tensor

from estbench.core import logits as limits
from estbench.core.base_node import Node
from estbench.core.noise import uniform


class Permutation(Node):
    r"""An order of items: logits ``(*batch, items)``, values the place of each item, from 0 on; Gumbel noise.

    A value holds whole numbers as floating-point ones; ``value.argsort(-1)`` are the items in their order. An item with
    a larger logit tends to an earlier place. ``log_prob`` is not linear in the value, and relaxed values have none.

    An item masked by a logit of minus infinity, or of 5,000 or more below the largest, comes after all that are not
    masked; several of them come in the order of their indices.

    More than twelve public methods, because it defines what ``Node`` leaves to kinds of nodes.
    """

    event_ndim = 1
    layout = "(*batch, items)"

    @property
    def cardinality(self) -> int:
        """The number of orders."""
        return math.factorial(self.logits.shape[-1])

    def _bounded(self, logits: Tensor) -> tuple[Tensor, bool]:
        finite, masks = limits.bounded_classes(logits[..., None, :])
        bounded = finite[..., 0, :]
        if not masks:
            return bounded, False
        # each masked item lies far below those before it, so that their order is certain
        depth = limits.DEPTH * torch.arange(logits.shape[-1], device=logits.device, dtype=logits.dtype)
        return torch.where(limits.free_classes(bounded), bounded, bounded - depth), True

    def _shown(self, logits: Tensor) -> Tensor:
        return limits.shown_classes(logits)

    @property
    def free(self) -> Tensor:
        """Which items are not masked."""
        return limits.free_classes(self.logits)

    @property
    def mean(self) -> Tensor:
        r"""The mean place of each item: the sum of the probabilities :math:`\sigma(\ell_j - \ell_i)` to come later."""
        others = (self.logits[..., None, :] - self.logits[..., :, None]).sigmoid()
        return others.sum(-1) - 0.5

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of an order."""
        return (self.logits - self._normalisers(value)).sum(-1)

    def score(self, value: Tensor) -> Tensor:
        r"""The derivative :math:`1 - \sum_j P(i \text{ at place } j \mid \text{the items before})`."""
        chances = (self.logits[..., None, :] - self._normalisers(value)[..., :, None]).exp()
        return 1 - torch.where(_not_before(value), chances, 0.0).sum(-2)

    def entropy(self) -> Tensor:
        """The entropy in nats, ``(*batch,)``, by enumeration of all orders."""
        if self.logits.shape[-1] > 8:
            raise self._lacks("entropy in closed form: it is a sum over all orders, of at most 8 items")
        logs = self.log_prob(self.enumerate_support())
        return -(logs.exp() * logs).sum(0)

    def mean_slope(self, direction: Tensor) -> Tensor:
        """The Jacobian of the mean places with respect to the logits, which is symmetric, times a direction."""
        chance = (self.logits[..., None, :] - self.logits[..., :, None]).sigmoid()
        slope = chance * (1 - chance)
        return (slope * direction[..., None, :]).sum(-1) - slope.sum(-1) * direction

    def departures(self) -> Tensor:
        """The probability that the order is not the likeliest: that of one departure at least."""
        return -torch.expm1(self.log_prob(self.most_probable()))

    def sample(self) -> Tensor:
        """The places of the items, in the shape of the logits."""
        return self.discretise(self.noise())

    def noise(self) -> Tensor:
        """Gumbel noise."""
        return -torch.log(-torch.log(uniform(self.logits.shape, self.logits)))

    def discretise(self, noise: Tensor) -> Tensor:
        """The places by the falling order of logits plus noise."""
        return _places(self.logits.detach() + noise)

    def most_probable(self) -> Tensor:
        """The places by the falling order of the logits."""
        return _places(self.logits.detach())

    def enumerate_support(self) -> Tensor:
        """All orders, ``(cardinality, *ones, items)``."""
        items = self.logits.shape[-1]
        orders = torch.tensor(list(itertools.permutations(range(items))), device=self.logits.device)
        return orders.to(self.logits.dtype).reshape(-1, *(1,) * self.batch_ndim, items)

    def permitted(self, value: Tensor) -> Tensor:
        """The orders, with those that a mask excludes replaced by the most probable one."""
        likely = self.most_probable()
        legal = ((value == likely) | self.free).all(-1, keepdim=True)
        return torch.where(legal, value, likely)

    def _normalisers(self, value: Tensor) -> Tensor:
        """The logarithm of the total weight of each item and those after it, ``(*samples, *batch, items)``."""
        weights = torch.where(_not_before(value), self.logits[..., None, :], -torch.inf)
        return weights.logsumexp(-1)


def _not_before(value: Tensor) -> Tensor:
    """Whether the second item comes at the place of the first or later, ``(*samples, *batch, items, items)``."""
    return value[..., None, :] >= value[..., :, None]


def _places(keys: Tensor) -> Tensor:
    """The place of each item in the falling order of its key."""
    return keys.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1).to(keys.dtype)
