"""Nodes: vectors of independent discrete random variables, parametrised by logits."""

import abc
import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)

from estbench.core import logits as limits
from estbench.core.noise import rand
from estbench.core.transforms import transformed

# torch's default threshold of 20 loses nine digits in float64
softplus = partial(F.softplus, threshold=40.0)

# names of version 0.1, so that plugins written for it still run; to be removed in 0.3
_RENAMED = {"harden": "discretise", "soften": "relax", "support": "enumerate_support"}


def uniform(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Uniform noise in the open interval (0, 1): its logarithms are finite."""
    return rand(shape, like).clamp(torch.finfo(like.dtype).tiny, 1 - torch.finfo(like.dtype).eps / 2)


def _positive(values: Tensor) -> Tensor:
    """1 where a value is positive, 0 elsewhere: on a CPU a fifth of the time that a tensor of booleans takes."""
    return values.detach().sign().clamp_min(0)


def softmax(logits: Tensor) -> Tensor:
    """Softmax over the last dimension, fast for few classes too."""
    return _over_classes(torch.softmax, logits)


def log_softmax(logits: Tensor) -> Tensor:
    """Logarithm of the softmax over the last dimension, fast for few classes too."""
    return _over_classes(torch.log_softmax, logits)


def _over_classes(function: Callable[[Tensor, int], Tensor], logits: Tensor) -> Tensor:
    # on a CPU torch vectorises over the last dimension from 16 entries on, and over the others always: with 10 classes
    # that is six times faster
    if logits.device.type == "cpu" and logits.ndim > 1 and logits.shape[-1] < 16:
        return function(logits.transpose(-1, -2), -2).transpose(-1, -2)
    return function(logits, -1)


@dataclass(frozen=True, eq=False)
class Node(abc.ABC):
    """A vector of independent discrete random variables.

    Args:
        logits: parameters, ``(*batch, *event)``; minus infinity masks a class (docs/estimators.md, "Masks").
        given: the input from which the logits were computed, ``(*batch, features)``; an input-dependent baseline
            uses it. By default it is the logits.

    Shapes below: values, noise and gradients are ``(*samples, *batch, *event)``, log-probabilities and
    costs ``(*samples, *batch)``.

    Attributes:
        logits: the given logits, in at least float32, with masked ones finite. All methods compute with them; gradients
            flow back in the original dtype.
        dtype: the dtype of the given logits, in which a program receives its samples.
        masks: False if no class is masked and no bit fixed. True if some are or may be: on a GPU, reading the values
            would have to wait for the device.

    Raises:
        TypeError: the logits are not a floating-point tensor.
        ValueError: they have too few dimensions, or mask all classes of a variable. The latter is not checked on a GPU
            or under transforms of ``torch.func``, where such logits lead to NaN; ``Estimator.prepare`` checks this, and
            for NaN, everywhere.
    """

    logits: Tensor
    given: Tensor | None = None
    dtype: torch.dtype = field(init=False)
    masks: bool = field(init=False)

    event_ndim: ClassVar[int]

    def __post_init__(self) -> None:
        if not isinstance(self.logits, Tensor) or not self.logits.is_floating_point():
            received = getattr(self.logits, "dtype", type(self.logits).__name__)
            raise TypeError(f"{type(self).__name__} takes logits as a floating-point tensor; got {received}")
        if self.logits.ndim < self.event_ndim:
            raise ValueError(
                f"{type(self).__name__} takes logits of shape {self.layout}; got {tuple(self.logits.shape)}"
            )
        logits, masks = self._bounded(limits.at_least_float32(self.logits))
        vars(self).update(dtype=self.logits.dtype, logits=logits, masks=masks)

    def __getattr__(self, name: str) -> Any:
        """Methods by their names of version 0.1, with a warning."""
        if name not in _RENAMED:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        warnings.warn(f"Node.{name} is now Node.{_RENAMED[name]}", DeprecationWarning, stacklevel=2)
        return getattr(self, _RENAMED[name])

    @property
    @abc.abstractmethod
    def layout(self) -> str:
        """The shape of the logits in words, for messages."""

    @property
    def batch_ndim(self) -> int:
        """The number of batch dimensions."""
        return self.logits.ndim - self.event_ndim

    @property
    def event_shape(self) -> tuple[int, ...]:
        """``(units,)`` or ``(units, classes)``."""
        return tuple(self.logits.shape[self.batch_ndim :])

    @property
    def context(self) -> Tensor:
        """The input of a baseline, ``(*batch, features)``, detached."""
        if self.given is not None:
            return limits.at_least_float32(self.given.detach())
        logits = self.logits.detach()
        return (self._shown(logits) if self.masks else logits).flatten(self.batch_ndim)

    @abc.abstractmethod
    def _bounded(self, logits: Tensor) -> tuple[Tensor, bool]:
        """The logits made finite, and whether any is or may be masked."""

    @abc.abstractmethod
    def _shown(self, logits: Tensor) -> Tensor:
        """The logits with masked ones at a moderate distance from the others, as input of baselines."""

    @property
    @abc.abstractmethod
    def free(self) -> Tensor:
        """True for logits that neither mask a class nor fix a bit, in the shape of the logits."""

    def at(self, logits: Tensor) -> Self:
        """The same kind of node with other logits."""
        made = replace(self, logits=logits)
        vars(made)["dtype"] = self.dtype
        return made

    def arranged(self, logits: Tensor) -> Self:
        """The same node with its logits detached, repeated, reshaped or sliced by the caller; nothing is checked."""
        made = copy.copy(self)
        vars(made)["logits"] = logits
        return made

    def detach(self) -> Self:
        """The same node with constant logits."""
        return self.arranged(self.logits.detach())

    def lift(self, cost: Tensor) -> Tensor:
        """Gives a cost ``(*samples, *batch)`` the dimensions of the event, of size one."""
        return cost.reshape(*cost.shape, *(1,) * self.event_ndim)

    def total(self, values: Tensor) -> Tensor:
        """Sums over the event: ``(*samples, *batch, *event)`` to ``(*samples, *batch)``."""
        return values.sum(tuple(range(-self.event_ndim, 0)))

    def score(self, value: Tensor) -> Tensor:
        r"""The derivative :math:`\partial \log q(b) / \partial \ell = b - \mathbb E\,b`."""
        return value - self.mean

    @property
    @abc.abstractmethod
    def cardinality(self) -> int:
        """The number of joint values of one vector."""

    @property
    @abc.abstractmethod
    def mean(self) -> Tensor:
        """The probabilities, in the shape of the logits."""

    @abc.abstractmethod
    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of a value, summed over the event dimensions, unlike that of ``torch.distributions``.

        It is linear in the value and therefore also defined for relaxed values.
        """

    @abc.abstractmethod
    def sample(self) -> Tensor:
        """An exact sample, in the shape of the logits."""

    @abc.abstractmethod
    def noise(self) -> Tensor:
        """Noise for which ``discretise(noise)`` is distributed as ``sample()``."""

    @abc.abstractmethod
    def noise_given(self, value: Tensor) -> Tensor:
        """Noise conditioned on ``discretise(noise) == value``, as a differentiable function of the logits."""

    @abc.abstractmethod
    def noise_score(self, noise: Tensor) -> Tensor:
        """Minus the derivative of the noise's log-density: the score of logits plus noise for the logits."""

    @abc.abstractmethod
    def covariance(self, probs: Tensor, direction: Tensor) -> Tensor:
        r"""The covariance matrix :math:`J(q) = \mathrm{diag}\,q - q q^\top` of a sample, times a direction.

        At ``probs = mean`` it is the Jacobian of the mean with respect to the logits.
        """

    @abc.abstractmethod
    def gap(self, noise: Tensor, direction: Tensor) -> Tensor:
        r"""The difference of the unconditional and the conditional reparametrisation gradient, along a direction.

        With :math:`z = \ell + \varepsilon` and :math:`\tilde z = \ell + \tilde\varepsilon(\ell, b, v)`, where
        :math:`v` is the randomness that makes :math:`\tilde z = z` and :math:`b` the value they discretise to:

        .. math:: (\partial z / \partial \ell - \partial \tilde z / \partial \ell)^\top \, direction
        """

    @abc.abstractmethod
    def discretise(self, noise: Tensor) -> Tensor:
        """The discrete value that the logits and this noise determine."""

    @abc.abstractmethod
    def relax(self, noise: Tensor, temperature: float | Tensor) -> Tensor:
        """The relaxed value for this noise; it tends to ``discretise(noise)`` as the temperature goes to 0."""

    @abc.abstractmethod
    def enumerate_support(self) -> Tensor:
        """All joint values, ``(cardinality, *ones, *event)``."""

    @abc.abstractmethod
    def classes(self) -> "Categorical":
        """The same distribution over one-hot vectors: a bit has two classes."""

    @abc.abstractmethod
    def to_hot(self, value: Tensor) -> Tensor:
        """A value of this node as a value of ``classes()``."""

    @abc.abstractmethod
    def from_hot(self, hot: Tensor) -> Tensor:
        """A value of ``classes()`` as a value of this node."""


class Bernoulli(Node):
    """Independent bits: logits ``(*batch, units)``, values 0 and 1, logistic noise.

    ``log_prob`` sums over the units, unlike ``torch.distributions.Bernoulli``: one vector of bits is one event.
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


def one_hot(index: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    """One-hot vectors, ``(*index.shape, classes)``; unlike ``F.one_hot`` it runs under vmap."""
    return (index[..., None] == torch.arange(classes, device=index.device)).to(dtype)


def draw_in_proportion(masses: Tensor) -> Tensor:
    """One-hot vectors with probabilities in proportion to these masses, ``(*batch, classes)``; never a class of mass 0.

    By rounding, a cumulative sum that is computed in parallel may grow at a class of mass 0; such classes are ignored.
    """
    reached = torch.where(masses > 0, masses.cumsum(-1), 0)
    u = rand(masses.shape[:-1], masses)
    # u is below 1, so this is below the largest sum even after rounding
    threshold = u[..., None] * reached.amax(-1, keepdim=True)
    # argmax returns the first
    index = (reached > threshold).to(masses.dtype).argmax(-1)
    return one_hot(index, masses.shape[-1], masses.dtype)


class Categorical(Node):
    """Independent categorical variables: logits ``(*batch, units, classes)``, one-hot values, Gumbel noise.

    ``log_prob`` sums over the units: one vector of variables is one event.
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
