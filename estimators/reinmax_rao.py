r"""ReinMax-Rao: ReinMax with its derivative at the midpoint averaged over the Gumbel noise given the sample.

.. math:: g = \Big(\tfrac2K \sum_k J_\tau(\ell' + \varepsilon_k) - \tfrac12 J(p)\Big) f'(b), \qquad
    \ell' = \log \tfrac12 (p + b), \quad \varepsilon_k \sim p(\varepsilon \mid \arg\max(\ell' + \varepsilon) = b)

with :math:`J_\tau(z)` the Jacobian of :math:`\mathrm{softmax}(z / \tau)` and
:math:`J(p) = \mathrm{diag}\, p - p p^\top`. The sample follows :math:`p` and not the midpoint, so the expectation is
not that of ReinMax, and the estimator is biased even for costs that are linear in the sample.

Biased. Bernoulli (as two classes) and categorical. One evaluation; uses the derivative of the cost.

Reference: Wang & Bui (2026), https://arxiv.org/abs/2603.08257, as in the authors' code (``reinmax_v3`` of
danielwang0452/DiscreteNumericalMethodsASC), which uses 100 samples of the noise
"""

from torch import Tensor

from estbench.core.estimator import positive, silent
from estbench.core.node import Node
from estbench.families.pathwise import Tempered


class ReinMaxRao(Tempered):
    """The ReinMax-Rao estimator.

    Args:
        noises: number of samples of the noise given the hard sample.
        temperature, rate, floor, every: schedule of the temperature; see ``Tempered``.
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
        # a class of probability 0 is masked at the midpoint; ``at`` replaces its logit of minus infinity by a finite
        # one
        middle = classes.at(((mean + hot) / 2).log())
        noise = middle.noise_given(hot.expand(self.noises, *hot.shape))
        relaxed = middle.relax(noise, tau)
        # the product with J is linear in its direction, so its derivative for the logits as direction is J
        along = middle.covariance(relaxed, classes.logits).mean(0) / tau
        return value + silent(node.from_hot(2 * along - classes.covariance(mean, classes.logits) / 2))
