"""The abstract node: a vector of independent discrete random variables, parametrised by logits."""

import abc
import copy
import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor

from estbench.core import logits as limits

if TYPE_CHECKING:
    from estbench.core.categorical import Categorical

# names of version 0.1, so that plugins written for it still run; to be removed in 0.3
_RENAMED = {"harden": "discretise", "soften": "relax", "support": "enumerate_support"}


@dataclass(frozen=True, eq=False)
class Node(abc.ABC):
    """A vector of independent discrete random variables.

    More than twelve public methods, because it holds everything that an estimator may ask of a distribution: an
    estimator never asks which kind of node it has.

    Args:
        logits: parameters, ``(*batch, *event)``; minus infinity masks a class (docs/estimators.md, "Masks").
        given: what the logits were computed from, ``(*batch, features)``: an input-dependent baseline
            looks at it. By default the logits themselves.

    Shapes below: values, noise and gradients are ``(*samples, *batch, *event)``, log-probabilities and
    costs ``(*samples, *batch)``.

    Attributes:
        logits: those that were given, in float32 where they had less, masked ones finite. All methods compute with
            them; gradients flow back in the dtype that was given.
        dtype: that of the logits as they were given, in which a program gets its samples.
        masks: False where no class is masked and no bit fixed; True where some are, or may be: on a GPU a look at the
            numbers would wait for the device.

    Raises:
        TypeError: the logits are no floating-point tensor.
        ValueError: they have too few dimensions, or mask all classes of a variable. On a GPU and under transforms of
            ``torch.func`` nodes do not look at the numbers; ``Estimator.prepare`` does everywhere, and for NaN too.
            What follows from such logits is NaN.
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
        """How many dimensions stand before the event's."""
        return self.logits.ndim - self.event_ndim

    @property
    def event_shape(self) -> tuple[int, ...]:
        """``(units,)`` or ``(units, classes)``."""
        return tuple(self.logits.shape[self.batch_ndim :])

    @property
    def context(self) -> Tensor:
        """What a baseline may look at, ``(*batch, features)``, detached."""
        if self.given is not None:
            return limits.at_least_float32(self.given.detach())
        logits = self.logits.detach()
        return (self._shown(logits) if self.masks else logits).flatten(self.batch_ndim)

    @abc.abstractmethod
    def _bounded(self, logits: Tensor) -> tuple[Tensor, bool]:
        """The logits made finite, and whether any was masked or may have been."""

    @abc.abstractmethod
    def _shown(self, logits: Tensor) -> Tensor:
        """The logits with masked ones at a moderate distance, for baselines."""

    @property
    @abc.abstractmethod
    def free(self) -> Tensor:
        """Which logits neither mask a class nor fix a bit, as booleans in the shape of the logits."""

    def at(self, logits: Tensor) -> Self:
        """The same kind of node with other logits."""
        made = replace(self, logits=logits)
        vars(made)["dtype"] = self.dtype
        return made

    def arranged(self, logits: Tensor) -> Self:
        """The same node with its own logits detached, repeated, reshaped or a part of them: nothing is checked anew."""
        made = copy.copy(self)
        vars(made)["logits"] = logits
        return made

    def detach(self) -> Self:
        """The same node, its logits constants."""
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
        """Log-probability of a value, summed over the event; linear in the value, so defined between."""

    @abc.abstractmethod
    def sample(self) -> Tensor:
        """A value drawn from the node, in the shape of the logits."""

    @abc.abstractmethod
    def noise(self) -> Tensor:
        """Noise for which ``discretise(noise)`` is distributed as ``sample()``."""

    @abc.abstractmethod
    def noise_given(self, value: Tensor) -> Tensor:
        """Noise given that it discretises to ``value``, as a differentiable function of the logits."""

    @abc.abstractmethod
    def noise_score(self, noise: Tensor) -> Tensor:
        """Minus the derivative of the noise's log-density: the score of logits plus noise at the logits."""

    @abc.abstractmethod
    def covariance(self, probs: Tensor, direction: Tensor) -> Tensor:
        r"""The covariance matrix :math:`J(q) = \mathrm{diag}\,q - q q^\top` of a draw, times a direction.

        At ``probs = mean`` it is the Jacobian of the mean with respect to the logits.
        """

    @abc.abstractmethod
    def gap(self, noise: Tensor, direction: Tensor) -> Tensor:
        r"""How reparametrisation given the value differs from the unconditional one, along a direction.

        With :math:`z = \ell + \varepsilon` and :math:`\tilde z = \ell + \tilde\varepsilon(\ell, b, v)`, where
        :math:`v` is the randomness that makes :math:`\tilde z = z` and :math:`b` the value they discretise to:

        .. math:: (\partial z / \partial \ell - \partial \tilde z / \partial \ell)^\top \, direction
        """

    @abc.abstractmethod
    def discretise(self, noise: Tensor) -> Tensor:
        """The value that this noise gives."""

    @abc.abstractmethod
    def relax(self, noise: Tensor, temperature: float | Tensor) -> Tensor:
        """The relaxed value that this noise gives; tends to ``discretise(noise)`` as the temperature goes to 0."""

    @abc.abstractmethod
    def enumerate_support(self) -> Tensor:
        """All joint values, ``(cardinality, *ones, *event)``."""

    @abc.abstractmethod
    def classes(self) -> "Categorical":
        """The same distribution over one-hot vectors: a bit has two classes."""

    @abc.abstractmethod
    def to_hot(self, value: Tensor) -> Tensor:
        """A value as one of ``classes()``."""

    @abc.abstractmethod
    def from_hot(self, hot: Tensor) -> Tensor:
        """A value of ``classes()`` as one of this node."""
