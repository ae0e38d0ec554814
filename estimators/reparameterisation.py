r"""Reparameterisation: the sample as a differentiable function of noise.

.. math:: z = \mu + \sigma \varepsilon, \qquad g = f'(z) \, \frac{\partial z}{\partial (\mu, \sigma)}, \qquad
    \varepsilon \sim \mathcal N(0, 1)

Where the cost contains log q with a constant slope, as an ELBO does, log q is differentiated through the sample alone:
its score has mean zero and would only add noise. This is "sticking the landing" (Roeder, Wu & Duvenaud 2017,
https://arxiv.org/abs/1703.09194).

Unbiased where the cost is differentiable; it does not see the jumps of one that has any. Normal.
One evaluation; uses the derivative of the cost.

Reference: Kingma & Welling (2014), https://arxiv.org/abs/1312.6114; Rezende, Mohamed & Wierstra (2014),
https://arxiv.org/abs/1401.4082
"""

from torch import Tensor

from estbench.core.node import Node, Normal
from estbench.families.pathwise import Pathwise


class Reparameterisation(Pathwise):
    """The reparameterisation gradient."""

    accepts = (Normal,)
    unbiased = True
    hard = True
    paper = "Kingma & Welling (2014), https://arxiv.org/abs/1312.6114"

    def sample(self, name: str, node: Node) -> Tensor:
        return node.reparametrised(node.noise())
