r"""Stochastic sum and sample: values drawn without replacement, all but the last summed.

.. math:: g = \sum_{k < K} q(b_k) f(b_k) \nabla \log q(b_k)
    + \Big(1 - \sum_{k < K} q(b_k)\Big) f(b_K) \nabla \log q(b_K)

The mean cost of all but the last serves as baseline: the last is fair whatever they are. Averaged over the orders
of drawing (and without baselines) this is the unordered-set estimator.

Unbiased. Bernoulli and categorical. K evaluations per node.

Reference: Liang, Norouzi, Berant, Le & Lao (2018), https://arxiv.org/abs/1807.02322; Kool, van Hoof & Welling
(2020), https://arxiv.org/abs/2002.06043
"""

import torch
from torch import Tensor

from estbench.core.node import Node
from estbench.families.weighted import Weighted, log_prob_once, mean_before_last, remainder, without_replacement


class SumAndSample(Weighted):
    """Samples without replacement, all but the last weighed by their probabilities.

    Args:
        samples: distinct joint values per node.
    """

    unbiased = True
    paper = "Kool, van Hoof & Welling (2020), https://arxiv.org/abs/2002.06043"

    def __init__(self, samples: int = 2) -> None:
        super().__init__()
        if samples < 2:
            raise ValueError(f"sum and sample sums all but one, so it needs at least 2; got {samples}")
        self.samples = samples

    def values(self, node: Node) -> int:
        return self.samples

    def baseline(self, node: Node, value: Tensor, cost: Tensor) -> Tensor:
        return mean_before_last(node, value, cost)

    def choose(self, node: Node) -> tuple[Tensor, Tensor]:
        classes = node.classes()
        drawn = without_replacement(classes, self.samples)
        log_probs = log_prob_once(classes, drawn[:-1])
        return node.from_hot(drawn), torch.cat([log_probs.exp(), remainder(log_probs)[None]])
