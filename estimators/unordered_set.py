r"""Unordered set: values drawn without replacement, weighted by the probability of the set if they are drawn first.

.. math:: g = \sum_{s \in S} q(s) R(S, s) \Big(f(s) - \sum_{s' \in S} q(s') R_s(S, s') f(s')\Big) \nabla \log q(s),
    \qquad R(S, s) = \frac{p(S \mid s \text{ first})}{p(S)}

:math:`R_s` is the same ratio after :math:`s` has been removed from the domain, and 1 for :math:`s` itself. One
recursion over the subsets of S gives all the probabilities.

Unbiased. Bernoulli and categorical. K evaluations per node.

Reference: Kool, van Hoof & Welling (2020), https://arxiv.org/abs/2002.06043
"""

import torch
from torch import Tensor

from estbench.core.node import Node
from estbench.families.weighted import Weighted, log_prob_once, without_replacement


class UnorderedSet(Weighted):
    """The unordered-set estimator with its built-in baseline.

    Args:
        samples: number of distinct joint values per node, 2 to 10.
    """

    unbiased = True
    paper = "Kool, van Hoof & Welling (2020), https://arxiv.org/abs/2002.06043"

    def __init__(self, samples: int = 2) -> None:
        super().__init__()
        if not 2 <= samples <= 10:
            raise ValueError(f"the unordered set goes through all subsets of 2 to 10 samples; got {samples}")
        self.samples = samples

    def values(self, node: Node) -> int:
        return self.samples

    def choose(self, node: Node) -> tuple[Tensor, Tensor]:
        drawn = without_replacement(node.classes(), self.samples)
        value = node.from_hot(drawn)
        log_q = log_prob_once(node, value)
        rest = _completions(log_q)
        first = torch.stack([rest[1 << s] for s in range(self.samples)])
        return value, (log_q + first - rest[0]).exp()

    def baseline(self, node: Node, value: Tensor, cost: Tensor) -> Tensor:
        log_q = log_prob_once(node, value)
        rest = _completions(log_q)
        return torch.stack([self._without(s, log_q, rest, cost) for s in range(self.samples)])

    def _without(self, s: int, log_q: Tensor, rest: dict[int, Tensor], cost: Tensor) -> Tensor:
        """The estimate of the cost where this sample has been taken out of the domain."""
        removed = rest[1 << s]
        ratios = [rest[1 << s | 1 << other] - removed for other in range(self.samples)]
        return ((log_q + torch.stack(ratios)).exp() * cost).sum(0)


def _completions(log_q: Tensor) -> dict[int, Tensor]:
    """Log-probabilities that the next draws are the rest of the set, by the drawn values as bits of an integer."""
    count, tiny = len(log_q), torch.finfo(log_q.dtype).tiny
    whole = (1 << count) - 1
    found, probs = {whole: torch.zeros_like(log_q[0])}, log_q.exp()
    for drawn in reversed(range(whole)):
        inside = [s for s in range(count) if drawn >> s & 1]
        left = (1 - sum((probs[s] for s in inside), torch.zeros_like(log_q[0]))).clamp_min(tiny).log()
        outside = [s for s in range(count) if not drawn >> s & 1]
        found[drawn] = torch.stack([log_q[s] + found[drawn | 1 << s] for s in outside]).logsumexp(0) - left
    return found
