r"""Straight-through Gumbel top-k: k items by perturbed logits, differentiated through a relaxation.

.. math:: S = \mathrm{top}_k \Big(\sum_{j=1}^k a^j\Big), \qquad
    g = \Big(\frac{\partial}{\partial \ell} \sum_{j=1}^k a^j\Big)^{\!\top} f'(S), \qquad
    a^j = \mathrm{softmax}(r^j / \tau)

where :math:`r^1 = \ell + \varepsilon`, with Gumbel noise, and :math:`r^{j+1} = r^j + \log(1 - a^j)`. The k largest
of :math:`\ell + \varepsilon` are drawn in sequence without replacement (Plackett-Luce, cut at k), and S is mostly the
same; at no temperature has it the distribution of the node. The value is therefore biased, too, unless k = 1, where
the estimator is ``st_gumbel_softmax`` for one class of several.

Biased. Subset. One evaluation; uses the derivative of the cost.

Reference: Xie & Ermon (2019), https://arxiv.org/abs/1901.10517, with the formula of ``SubsetOperator(hard=True)`` in
the authors' code (ermongroup/subsets), where :math:`\log(1 - a^j)` is computed to more digits
"""

import torch
from torch import Tensor

from estbench.core.estimator import silent
from estbench.core.node import Node, Subset, log_softmax, one_hot
from estbench.core.noise import uniform
from estbench.core.subset_sums import NEVER
from estbench.families.pathwise import Tempered


class GumbelTopK(Tempered):
    """The straight-through Gumbel top-k estimator; its options are those of the temperature."""

    accepts = (Subset,)
    unbiased = False
    hard = False
    paper = "Xie & Ermon (2019), https://arxiv.org/abs/1901.10517"

    def sample(self, name: str, node: Node) -> Tensor:
        assert isinstance(node, Subset)
        gumbel = -(-uniform(node.logits.shape, node.logits).log()).log()
        relaxed = _relaxed(node, node.logits + gumbel, self.tau(node))
        if node.masks:
            # every sum of probabilities is between 0 and k
            rank = torch.where(node.always, node.k + 1.0, torch.where(node.free, relaxed, -1.0))
            return node.arranged(rank).most_probable() + silent(relaxed)
        return node.arranged(relaxed).most_probable() + silent(relaxed)


def _relaxed(node: Subset, weights: Tensor, temperature: Tensor) -> Tensor:
    """The items chosen one after another by a softmax, summed over choices; masked items are left out."""
    if node.masks:
        weights = torch.where(node.free, weights, NEVER)
    total = torch.zeros_like(weights)
    for number in range(node.k):
        logs = log_softmax(weights / temperature)
        # items that are always in the subset leave fewer to choose
        total = total + (torch.where(node.left > number, logs.exp(), 0.0) if node.masks else logs.exp())
        if number < node.k - 1:
            weights = weights + _log_rest(logs)
    return total


def _log_rest(logs: Tensor) -> Tensor:
    """The logarithms of 1 - p, from those of probabilities p: of the largest p by summing the others, for precision."""
    largest = one_hot(logs.argmax(-1), logs.shape[-1], torch.bool)
    others = torch.where(largest, NEVER, logs).logsumexp(-1, keepdim=True)
    return torch.where(largest, others, torch.log1p(-torch.where(largest, 0.0, logs.exp())))
