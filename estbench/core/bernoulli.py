"""The Bernoulli node: independent bits."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)

from estbench.core import logits as limits
from estbench.core.base_node import Node
from estbench.core.categorical import Categorical
from estbench.core.functional import softplus
from estbench.core.noise import rand, uniform
from estbench.core.transforms import transformed


class Bernoulli(Node):
    """Independent bits: logits ``(*batch, units)``, values 0 and 1, logistic noise.

    ``log_prob`` sums over the units, unlike ``torch.distributions.Bernoulli``: one vector of bits is one event.

    More than twelve public methods, because it defines all that ``Node`` leaves abstract.
    """

    event_ndim = 1
    layout = "(*batch, units)"

    @property
    def cardinality(self) -> int:
        """The number of joint values of one vector."""
        return 2 ** self.logits.shape[-1]

    def _bounded(self, logits: Tensor) -> tuple[Tensor, bool]:
        return limits.bounded_bits(logits)

    def _shown(self, logits: Tensor) -> Tensor:
        return limits.shown_bits(logits)

    @property
    def free(self) -> Tensor:
        """Which bits are not fixed."""
        return limits.free_bits(self.logits)

    @property
    def mean(self) -> Tensor:
        """The probabilities of 1."""
        return self.logits.sigmoid()

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of a vector of bits, summed over the units, unlike ``torch.distributions``."""
        value = value.to(self.logits.dtype)
        if value.shape != self.logits.shape[-value.ndim :]:
            # one softplus per logit, not per value; with fixed bits, separate sums would lose precision by cancellation
            if self.masks:
                return (value * self.logits - softplus(self.logits)).sum(-1)
            return (value * self.logits).sum(-1) - softplus(self.logits).sum(-1)
        if transformed():
            return -torch.addcmul(softplus(self.logits), value, self.logits, value=-1).sum(-1)
        # fused, with a backward pass in a third of the time, but slow under transforms
        value = value.expand_as(self.logits)
        return -F.binary_cross_entropy_with_logits(self.logits, value, reduction="none").sum(-1)

    def sample(self) -> Tensor:
        """Bits, in the shape of the logits."""
        return _positive(self.detach().mean - rand(self.logits.shape, self.logits))

    def noise(self) -> Tensor:
        """Logistic noise."""
        return torch.logit(uniform(self.logits.shape, self.logits))

    def noise_given(self, value: Tensor) -> Tensor:
        """Logistic noise given the bits."""
        w = torch.logit(uniform(value.shape, self.logits))
        sign = 2 * value - 1
        return sign * softplus(w + softplus(sign * self.logits)) - self.logits

    def noise_score(self, noise: Tensor) -> Tensor:
        """Minus the derivative of the logistic log-density."""
        return (noise / 2).tanh()

    def covariance(self, probs: Tensor, direction: Tensor) -> Tensor:
        """The variance of a bit, times a direction."""
        return probs * (1 - probs) * direction

    def gap(self, noise: Tensor, direction: Tensor) -> Tensor:
        """The difference of the unconditional and the conditional reparametrisation gradient, along a direction."""
        z = self.logits + noise
        return (1 + torch.expm1(-z.abs()) * torch.where(z > 0, self.logits, -self.logits).sigmoid()) * direction

    def discretise(self, noise: Tensor) -> Tensor:
        """Bits that are 1 where logits plus noise are positive."""
        return _positive(self.logits + noise)

    def relax(self, noise: Tensor, temperature: float | Tensor) -> Tensor:
        """Sigmoid of logits plus noise over the temperature (the binary Concrete distribution)."""
        return ((self.logits + noise) / temperature).sigmoid()

    def enumerate_support(self) -> Tensor:
        """All bit vectors, ``(2 ** units, *ones, units)``."""
        units = self.logits.shape[-1]
        index = torch.arange(2**units, device=self.logits.device)
        bits = index[:, None] >> torch.arange(units, device=self.logits.device) & 1
        return bits.to(self.logits.dtype).reshape(-1, *(1,) * self.batch_ndim, units)

    def classes(self) -> "Categorical":
        """The same distribution as categorical variables with the classes 0 and 1."""
        made = Categorical(torch.stack([torch.zeros_like(self.logits), self.logits], -1), self.given)
        vars(made)["dtype"] = self.dtype
        return made

    def to_hot(self, value: Tensor) -> Tensor:
        """Bits as one-hot vectors."""
        return torch.stack([1 - value, value], -1)

    def from_hot(self, hot: Tensor) -> Tensor:
        """One-hot vectors as bits."""
        return hot[..., 1]


def _positive(values: Tensor) -> Tensor:
    """1 where a value is positive, 0 elsewhere: on a CPU a fifth of the time that a tensor of booleans takes."""
    return values.detach().sign().clamp_min(0)
