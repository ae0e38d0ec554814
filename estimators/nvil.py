r"""NVIL: REINFORCE with a learned input-dependent baseline.

.. math:: g = \tfrac1K \sum_k (f(b_k) - C_\psi(x) - c) \, \nabla \log q(b_k)

:math:`C_\psi` is a network per node, fitted by least squares to the difference between the cost and its moving average
:math:`c`. Its input is that of the node, or the logits if the node does not state its input. With ``normalise`` the
learning signal is divided by its running deviation :math:`\max(1, \sigma)` as in the paper; this rescales the gradient,
which is then unbiased only up to scale. Both :math:`c` and :math:`\sigma` come from earlier steps.

Unbiased. Bernoulli, categorical, subset, normal and permutation. K evaluations.

Reference: Mnih & Gregor (2014), https://arxiv.org/abs/1402.0030
"""

from torch import Tensor

from estbench.core.estimator import positive
from estbench.core.networks import MovingAverage, PerNode, mlp
from estbench.core.node import Node
from estbench.families.score_function import ScoreFunction


class NVIL(ScoreFunction):
    """The score-function estimator with a learned baseline.

    Args:
        samples: number of joint samples per gradient.
        hidden: width of the baseline's hidden layer.
        decay: weight of the earlier value of the moving average in each update.
        normalise: whether to divide by the running deviation.
    """

    unbiased = True
    paper = "Mnih & Gregor (2014), https://arxiv.org/abs/1402.0030"

    def __init__(self, samples: int = 1, hidden: int = 100, decay: float = 0.9, *, normalise: bool = False) -> None:
        super().__init__(samples, normalise=normalise)
        self.networks = PerNode()
        self.hidden = positive("hidden", hidden)
        self.average = MovingAverage(decay)

    def build(self, name: str, node: Node) -> None:
        self.networks[name] = mlp(node.context.shape[-1], (self.hidden,), node.logits)

    def baseline(self, name: str, node: Node, cost: Tensor) -> Tensor:
        return self.networks.of(name, self)(node.context) + self.average.value.to(cost)

    def observe(self, cost: Tensor) -> None:
        self.average.update(cost.mean())
