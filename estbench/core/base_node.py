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
        logits: parameters, ``(*batch, *event)``; minus infinity masks a class (docs/reference/estimators.md, "Masks").
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

    @property
    def choices(self) -> Tensor:
        """How many of its variables have more than one value that is not masked, ``(*batch,)``."""
        free = self.free if self.event_ndim == 1 else self.free.sum(-1) > 1
        return free.sum(-1).to(self.logits.dtype)

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
