"""The categorical node: independent variables with one-hot values."""

import torch
from torch import Tensor

from estbench.core import logits as limits
from estbench.core.base_node import Node
from estbench.core.functional import log_softmax, softmax
from estbench.core.noise import rand, uniform
from estbench.core.one_hot import draw_in_proportion, one_hot


class Categorical(Node):
    """Independent categorical variables: logits ``(*batch, units, classes)``, one-hot values, Gumbel noise.

    ``log_prob`` sums over the units: one vector of variables is one event.

    More than twelve public methods, because it defines all that ``Node`` leaves abstract.
    """

    event_ndim = 2
    layout = "(*batch, units, classes)"

    @property
    def cardinality(self) -> int:
        """The number of joint values of one vector."""
        units, classes = self.logits.shape[-2:]
        return int(classes**units)

    def _bounded(self, logits: Tensor) -> tuple[Tensor, bool]:
        return limits.bounded_classes(logits)

    def _shown(self, logits: Tensor) -> Tensor:
        return limits.shown_classes(logits)

    @property
    def free(self) -> Tensor:
        """Which classes are not masked."""
        return limits.free_classes(self.logits)

    @property
    def uniform(self) -> Tensor:
        """The uniform distribution over the classes that are not masked, in the shape of the logits."""
        if not self.masks:
            return torch.full_like(self.logits, 1 / self.logits.shape[-1])
        free = self.free.to(self.logits.dtype)
        return free / free.sum(-1, keepdim=True)

    @property
    def mean(self) -> Tensor:
        """The probabilities of the classes."""
        return softmax(self.logits)

    def departures(self) -> Tensor:
        """The expected number of variables that are not of their likeliest class."""
        return (1 - self.mean.amax(-1)).sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of one-hot vectors, summed over the units."""
        return (value * log_softmax(self.logits)).sum((-2, -1))

    def sample(self) -> Tensor:
        """One-hot vectors, in the shape of the logits."""
        if self.masks:
            return draw_in_proportion(self.detach().mean)
        u = rand(self.logits.shape[:-1], self.logits)
        index = (u[..., None] >= self.mean.cumsum(-1)[..., :-1]).sum(-1)
        return one_hot(index, self.logits.shape[-1], self.logits.dtype)

    def noise(self) -> Tensor:
        """Gumbel noise."""
        return -torch.log(-torch.log(uniform(self.logits.shape, self.logits)))

    def noise_given(self, value: Tensor) -> Tensor:
        """Gumbel noise given the classes."""
        log_e = torch.log(-torch.log(uniform(value.shape, self.logits)))
        top = (value * log_e).sum(-1, keepdim=True) - self.logits.logsumexp(-1, keepdim=True)
        rest = torch.logaddexp(log_e - self.logits, top)
        return -torch.where(value > 0.5, top, rest) - self.logits

    def noise_score(self, noise: Tensor) -> Tensor:
        """Minus the derivative of the Gumbel log-density."""
        return 1 - (-noise).exp()

    def covariance(self, probs: Tensor, direction: Tensor) -> Tensor:
        """The covariance matrix of a one-hot sample, times a direction."""
        return probs * (direction - (probs * direction).sum(-1, keepdim=True))

    def gap(self, noise: Tensor, direction: Tensor) -> Tensor:
        """The difference of the unconditional and the conditional reparametrisation gradient, along a direction."""
        z = self.logits + noise
        # z_j depends on the log-normaliser with this weight, and on its own logit with the rest
        shared = (z - z.amax(-1, keepdim=True)).exp() * direction
        return shared - self.mean * shared.sum(-1, keepdim=True)

    def discretise(self, noise: Tensor) -> Tensor:
        """One-hot vector of the largest of logits plus noise."""
        return one_hot((self.logits + noise).argmax(-1), self.logits.shape[-1], self.logits.dtype)

    def relax(self, noise: Tensor, temperature: float | Tensor) -> Tensor:
        """Softmax of logits plus noise over the temperature (the Gumbel-Softmax distribution)."""
        return softmax((self.logits + noise) / temperature)

    def enumerate_support(self) -> Tensor:
        """All tuples of classes, one-hot, ``(classes ** units, *ones, units, classes)``."""
        units, classes = self.logits.shape[-2:]
        index = torch.arange(classes**units, device=self.logits.device)
        digits = index[:, None] // classes ** torch.arange(units, device=self.logits.device) % classes
        hot = one_hot(digits, classes, self.logits.dtype)
        return hot.reshape(-1, *(1,) * self.batch_ndim, units, classes)

    def classes(self) -> "Categorical":
        """The node itself."""
        return self

    def to_hot(self, value: Tensor) -> Tensor:
        """The value itself."""
        return value

    def from_hot(self, hot: Tensor) -> Tensor:
        """The value itself."""
        return hot
