"""The abstract node: a vector of random variables, parametrised by logits."""

import abc
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor

from estbench.core import logits as limits
from estbench.core.one_hot import one_hot
from estbench.core.refusal import NotApplicableError

if TYPE_CHECKING:
    from estbench.core.categorical import Categorical

# names of version 0.1, so that plugins written for it still run; to be removed in 0.3
_RENAMED = {"harden": "discretise", "soften": "relax", "support": "enumerate_support"}


@dataclass(frozen=True, eq=False)
class Node(abc.ABC):
    """A vector of random variables: independent bits, classes or normal variables, or a subset of items.

    More than twelve public methods, because it holds everything that an estimator may ask of a distribution: an
    estimator never asks which kind of node it has. What a kind of node does not have (a relaxation, conditional noise,
    classes, an enumeration) it refuses with ``NotApplicableError``; estimators that need it do not accept such nodes.

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
        """Hook: the shape of one value, ``(units,)`` or ``(units, classes)``: that of the logits, unless overridden."""
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
        """Hook: how many of its variables have more than one value that is not masked, ``(*batch,)``."""
        free = self.free if self.event_ndim == 1 else self.free.sum(-1) > 1
        return free.sum(-1).to(self.logits.dtype)

    def at(self, logits: Tensor) -> Self:
        """The same kind of node with other logits; a program receives its samples in the dtype of this node."""
        made = self.made_from(logits)
        vars(made)["dtype"] = self.dtype
        return made

    def made_from(self, logits: Tensor) -> Self:
        """The same kind of node with other logits, of any dtype, as its constructor would make it."""
        made = self.arranged(logits)
        made.__post_init__()
        return made

    def levelled(self) -> Self:
        """Hook: the node with all values equally likely; its logits keep their derivative."""
        return self.at((self.logits - self.logits.detach()).nan_to_num(0.0))

    def arranged(self, logits: Tensor) -> Self:
        """The same node with its logits detached, repeated, reshaped or sliced by the caller; nothing is checked."""
        # copy.copy takes ten times as long, and this is called several times per node and step
        made = object.__new__(type(self))
        vars(made).update(vars(self), logits=logits)
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
        r"""Hook: the derivative :math:`\partial \log q(b) / \partial \ell`, which is :math:`b - \mathbb E\,b` here."""
        return value - self.mean

    def entropy(self) -> Tensor:
        """Hook: the entropy in nats, ``(*batch,)``; ``log_prob`` is linear in the value, so the mean value suffices."""
        return -self.log_prob(self.mean)

    def mean_slope(self, direction: Tensor) -> Tensor:
        """Hook: the Jacobian of the mean with respect to the logits, which is symmetric, times a direction."""
        return self.covariance(self.mean, direction)

    def departures(self) -> Tensor:
        """Hook: the expected number of variables of a sample that differ from their likeliest value, ``(*batch,)``."""
        return (1 - torch.maximum(self.mean, 1 - self.mean)).sum(-1)

    def refuse_unusable(self, name: str) -> None:
        """Hook: refuses logits that define no distribution, on every device; see ``logits.refuse_unusable``."""
        limits.refuse_unusable(name, self.logits)

    def permitted(self, value: Tensor) -> Tensor:
        """Hook: the values, with those that a mask excludes replaced by the most probable one."""
        hot, classes = self.to_hot(value), self.classes()
        likely = one_hot(classes.logits.argmax(-1), hot.shape[-1], hot.dtype)
        legal = (hot * ~classes.free).sum((-2, -1), keepdim=True) == 0
        return self.from_hot(torch.where(legal, hot, likely))

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

    def most_probable(self) -> Tensor:
        """Hook: the most probable value, which the logits alone determine."""
        return self.discretise(torch.zeros_like(self.logits))

    def noise_given(self, value: Tensor) -> Tensor:  # noqa: ARG002  (for the kinds that have it)
        """Hook: noise conditioned on ``discretise(noise) == value``, as a differentiable function of the logits."""
        raise self._lacks("conditional noise")

    def noise_score(self, noise: Tensor) -> Tensor:  # noqa: ARG002  (for the kinds that have it)
        """Hook: minus the derivative of the noise's log-density: the score of logits plus noise for the logits."""
        raise self._lacks("score of logits plus noise")

    def covariance(self, probs: Tensor, direction: Tensor) -> Tensor:  # noqa: ARG002  (for the kinds that have it)
        r"""Hook: the covariance matrix :math:`J(q) = \mathrm{diag}\,q - q q^\top` of a sample, times a direction.

        At ``probs = mean`` it is the Jacobian of the mean with respect to the logits.
        """
        raise self._lacks("covariance as a function of probabilities")

    def gap(self, noise: Tensor, direction: Tensor) -> Tensor:  # noqa: ARG002  (for the kinds that have it)
        r"""Hook: the difference of the unconditional and the conditional reparametrisation gradient, along a direction.

        With :math:`z = \ell + \varepsilon` and :math:`\tilde z = \ell + \tilde\varepsilon(\ell, b, v)`, where
        :math:`v` is the randomness that makes :math:`\tilde z = z` and :math:`b` the value they discretise to:

        .. math:: (\partial z / \partial \ell - \partial \tilde z / \partial \ell)^\top \, direction
        """
        raise self._lacks("conditional noise")

    @abc.abstractmethod
    def discretise(self, noise: Tensor) -> Tensor:
        """The sample that the logits and this noise determine, without derivative."""

    def relax(self, noise: Tensor, temperature: float | Tensor) -> Tensor:  # noqa: ARG002  (for the kinds that have it)
        """Hook: the relaxed value for this noise; it tends to ``discretise(noise)`` as the temperature goes to 0."""
        raise self._lacks("relaxation")

    def reparametrised(self, noise: Tensor) -> Tensor:  # noqa: ARG002  (for the kinds that have it)
        """Hook: the sample that this noise determines, as a differentiable function of the parameters."""
        raise self._lacks("differentiable samples")

    def noise_slope(self, noise: Tensor, direction: Tensor) -> Tensor:  # noqa: ARG002  (for the kinds that have it)
        """Hook: the Jacobian of ``reparametrised`` with respect to the parameters, transposed, times a direction."""
        raise self._lacks("differentiable samples")

    def enumerate_support(self) -> Tensor:
        """Hook: all joint values, ``(cardinality, *ones, *event)``."""
        raise self._lacks("enumeration")

    def classes(self) -> "Categorical":
        """Hook: the same distribution over one-hot vectors: a bit has two classes."""
        raise self._lacks("classes")

    def to_hot(self, value: Tensor) -> Tensor:  # noqa: ARG002  (for the kinds that have it)
        """Hook: a value of this node as a value of ``classes()``."""
        raise self._lacks("classes")

    def from_hot(self, hot: Tensor) -> Tensor:  # noqa: ARG002  (for the kinds that have it)
        """Hook: a value of ``classes()`` as a value of this node."""
        raise self._lacks("classes")

    def _lacks(self, what: str) -> NotApplicableError:
        return NotApplicableError(f"{type(self).__name__} nodes have no {what}")
