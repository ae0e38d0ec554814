r"""ReinMax-Rao: ReinMax, whose derivative at the midpoint is averaged over Gumbel noise given the sample.

.. math:: g = \Big(\tfrac2K \sum_k J_\tau(\ell' + \varepsilon_k) - \tfrac12 J(p)\Big) f'(b), \qquad
    \ell' = \log \tfrac12 (p + b), \quad \varepsilon_k \sim p(\varepsilon \mid \arg\max(\ell' + \varepsilon) = b)

with :math:`J_\tau(z)` the Jacobian of :math:`\mathrm{softmax}(z / \tau)` and
:math:`J(p) = \mathrm{diag}\, p - p p^\top`. The sample is one of :math:`p`, and not of the midpoint, so that this is
not ReinMax in expectation: costs that are linear in the sample have a bias too.

Biased. Bernoulli (as two classes) and categorical. One evaluation; uses the derivative of the cost.

Reference: Wang & Bui (2026), https://arxiv.org/abs/2603.08257, as in the authors' code (``reinmax_v3`` of
danielwang0452/DiscreteNumericalMethodsASC), which takes 100 noises
"""

from torch import Tensor

from estbench.core.estimator import positive, silent
from estbench.core.node import Node
from estbench.families.pathwise import Tempered


class ReinMaxRao(Tempered):
    """The ReinMax-Rao estimator.

    Args:
        noises: samples of the noise given the sample.
        temperature: of the relaxation, at the start.
        rate: at which it falls per training step; 0 keeps it constant.
        floor: below which it does not fall.
        every: how many training steps it stays the same between updates.
    """

    unbiased = False
    hard = True
    paper = "Wang & Bui (2026), https://arxiv.org/abs/2603.08257"

    def __init__(
        self,
        noises: int = 10,
        temperature: float = 1.0,
        rate: float = 0.0,
        floor: float = 0.5,
        every: int = 1000,
    ) -> None:
        super().__init__(temperature, rate, floor, every)
        self.noises = positive("noises", noises)

    def sample(self, name: str, node: Node) -> Tensor:
        value = node.sample()
        hot, classes, tau = node.to_hot(value), node.classes(), self.tau(node)
        mean = classes.mean.detach()
        # a class of probability 0 is masked at the midpoint: its logit of minus infinity is made finite there
        middle = classes.at(((mean + hot) / 2).log())
        noise = middle.noise_given(hot.expand(self.noises, *hot.shape))
        relaxed = middle.relax(noise, tau)
        # J is linear in its direction: the logits as direction make it the derivative
        along = middle.covariance(relaxed, classes.logits).mean(0) / tau
        return value + silent(node.from_hot(2 * along - classes.covariance(mean, classes.logits) / 2))
