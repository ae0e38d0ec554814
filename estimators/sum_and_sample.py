r"""Stochastic sum and sample: values drawn without replacement, of which all but the last are summed.

.. math:: g = \sum_{k < K} q(b_k) f(b_k) \nabla \log q(b_k)
    + \Big(1 - \sum_{k < K} q(b_k)\Big) f(b_K) \nabla \log q(b_K)

The baseline is computed from all values but the last, since the last is an exact sample of the remaining values given
the others. It is their mean cost weighted by their probabilities, or, with ``baseline="estimate"`` as in the authors'
code, the estimate of the expected cost that they give without the last. Averaged over the orders of drawing, and
without baselines, this is the unordered-set estimator.

Unbiased. Bernoulli and categorical. K evaluations per node.

Reference: Liang, Norouzi, Berant, Le & Lao (2018), https://arxiv.org/abs/1807.02322; Kool, van Hoof & Welling
(2020), https://arxiv.org/abs/2002.06043
"""

from typing import Literal

from torch import Tensor

from estbench.core.node import Node
from estbench.families.weighted import Weighted, log_prob_once, mean_before_last, with_remainder, without_replacement


class SumAndSample(Weighted):
    """Samples without replacement, all but the last weighted by their probabilities.

    Args:
        samples: number of distinct joint values per node.
        baseline: ``mean`` for the mean cost of all values but the last, or ``estimate`` for the estimate of the
            expected cost that they give. For two samples both are the same.
    """

    unbiased = True
    paper = "Kool, van Hoof & Welling (2020), https://arxiv.org/abs/2002.06043"

    def __init__(self, samples: int = 2, baseline: Literal["mean", "estimate"] = "mean") -> None:
        super().__init__()
        if samples < 2:
            raise ValueError(f"sum and sample sums all but one, so it needs at least 2; got {samples}")
        if baseline not in ("mean", "estimate"):
            raise ValueError(f"the baseline is 'mean' or 'estimate'; got {baseline!r}")
        self.samples, self.estimates = samples, baseline == "estimate"

    def values(self, node: Node) -> int:
        return self.samples

    def baseline(self, node: Node, value: Tensor, cost: Tensor) -> Tensor:
        if not self.estimates:
            return mean_before_last(node, value, cost)
        return (_weights(node, value[:-1]) * cost[:-1]).sum(0).expand_as(cost)

    def choose(self, node: Node) -> tuple[Tensor, Tensor]:
        drawn = node.from_hot(without_replacement(node.classes(), self.samples))
        return drawn, _weights(node, drawn)


def _weights(node: Node, value: Tensor) -> Tensor:
    """The probabilities of all values but the last, and the remaining probability for the last."""
    return with_remainder(log_prob_once(node, value[:-1]))
