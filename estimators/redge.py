r"""ReDGE: a sample from a diffusion that turns noise into a class, differentiated through all its steps.

.. math:: \hat x_t = \mathrm{softmax}\big(\ell + \alpha_t x_t / \sigma_t^2\big), \qquad
    x_{t-1} = \alpha_{t-1} \hat x_t + \sigma_{t-1} (x_t - \alpha_t \hat x_t) / \sigma_t

starting from :math:`x_{T-1} \sim \mathcal N(0, 1)`, with :math:`\sigma_t = 1 - \alpha_t`, :math:`\alpha_0 = 1`, and the
other :math:`\alpha_t` in equal steps from :math:`1 - t_1` to :math:`10^{-4}`. The sample is drawn with the
probabilities of the last mean :math:`\hat x_1`, and the derivative of that mean replaces its own. These samples do not
follow :math:`\mathrm{softmax}(\ell)`: with 3 steps and :math:`t_1 = 0.3` a class of probability .844 has probability
.926. The value is therefore biased too, unless :math:`t_1 = 1`, which gives straight-through.

Biased. Bernoulli (as two classes) and categorical. One evaluation; uses the derivative of the cost.

Reference: Gourevitch, Durmus, Moulines, Olsson & Janati (2026), https://arxiv.org/abs/2601.00781, with the schedule of
the authors' package (PyPI redge 0.1.0)
"""

import torch
from torch import Tensor

from estbench.core.estimator import silent
from estbench.core.node import Node, one_hot, softmax
from estbench.core.noise import randn, uniform
from estbench.families.pathwise import Pathwise


class ReDGE(Pathwise):
    r"""Reparametrisation by denoising diffusion.

    Args:
        steps: number of times of the diffusion, at least 2; the softmax is evaluated once less.
        t_1: the noise that is left at the last step, in (0, 1]; more noise relaxes the sample as a temperature does.
    """

    unbiased = False
    hard = False
    paper = "Gourevitch, Durmus, Moulines, Olsson & Janati (2026), https://arxiv.org/abs/2601.00781"

    def __init__(self, steps: int = 5, t_1: float = 0.5) -> None:
        super().__init__()
        if steps < 2:
            raise ValueError(f"ReDGE needs at least 2 steps; got {steps}")
        if not 0 < t_1 <= 1:
            raise ValueError(f"ReDGE needs a final noise t_1 in (0, 1]; got {t_1}")
        # at full noise the last mean is that of the logits
        self.exact_samples = t_1 == 1
        self.alphas = [1.0, *torch.linspace(1 - t_1, 1e-4, steps - 1, dtype=torch.float64).tolist()]

    def sample(self, name: str, node: Node) -> Tensor:
        classes = node.classes()
        x, mean = randn(classes.logits.shape, classes.logits), classes.mean
        for t in reversed(range(1, len(self.alphas))):
            before, alpha = self.alphas[t - 1], self.alphas[t]
            weights = classes.logits + alpha / (1 - alpha) ** 2 * x
            if classes.masks:
                weights = weights.masked_fill(~classes.free, -torch.inf)
            mean = softmax(weights)
            x = before * mean + (1 - before) / (1 - alpha) * (x - alpha * mean)
        return node.from_hot(_drawn(mean.detach()) + silent(mean))


def _drawn(probs: Tensor) -> Tensor:
    """One-hot samples of these probabilities."""
    gumbel = -torch.log(-torch.log(uniform(probs.shape, probs)))
    return one_hot((probs.log() + gumbel).argmax(-1), probs.shape[-1], probs.dtype)
