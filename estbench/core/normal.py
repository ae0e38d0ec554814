r"""The normal node: independent normal variables, the continuous one among the nodes.

.. math:: q(z) = \prod_i \mathcal N(z_i; \mu_i, \sigma_i^2)
"""

import math
from typing import Any

import torch
from torch import Tensor

from estbench.core.base_node import Node
from estbench.core.logits import extremes
from estbench.core.noise import randn
from estbench.core.transforms import transformed


class Normal(Node):
    r"""Independent normal variables: location and scale ``(*batch, units)``, values alike, standard normal noise.

    ``log_prob`` sums over the units, unlike ``torch.distributions.Normal``: one vector is one event.

    What other nodes have as logits is here the two parameters side by side, ``(*batch, 2 * units)``, the locations
    first; scores and gradients for the logits have that shape, too.

    More than twelve public methods, because it defines all that ``Node`` leaves abstract.

    Args:
        loc: means, ``(*batch, units)``.
        scale: standard deviations, of a shape that broadcasts to that of the means, or a number.
        given: the input from which the parameters were computed, ``(*batch, features)``.

    Raises:
        TypeError: a parameter is not a floating-point tensor.
        ValueError: a scale is not above 0. This is not checked on a GPU or under transforms of ``torch.func``;
            ``Estimator.prepare`` checks it everywhere.
    """

    event_ndim = 1
    layout = "(*batch, 2 * units)"

    def __init__(self, loc: Tensor, scale: Tensor | float, given: Tensor | None = None) -> None:
        if not isinstance(loc, Tensor) or not loc.is_floating_point() or not loc.ndim:
            raise TypeError(f"Normal takes locations as a floating-point tensor (*batch, units); got {_described(loc)}")
        if isinstance(scale, (int, float)) and not isinstance(scale, bool):
            scale = torch.full_like(loc, scale)
        if not isinstance(scale, Tensor) or not scale.is_floating_point():
            raise TypeError(f"Normal takes scales as a floating-point tensor or a number; got {_described(scale)}")
        if not transformed():
            _refuse_scale(scale)
        vars(self).update(logits=torch.cat(torch.broadcast_tensors(loc, scale), -1), given=given)
        self.__post_init__()

    @property
    def loc(self) -> Tensor:
        """The means, ``(*batch, units)``."""
        return self.logits[..., : self.logits.shape[-1] // 2]

    @property
    def scale(self) -> Tensor:
        """The standard deviations, ``(*batch, units)``."""
        return self.logits[..., self.logits.shape[-1] // 2 :]

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one value, ``(units,)``: half of the parameters."""
        return (self.logits.shape[-1] // 2,)

    def _bounded(self, logits: Tensor) -> tuple[Tensor, bool]:
        return logits, False

    def _shown(self, logits: Tensor) -> Tensor:
        return logits

    @property
    def free(self) -> Tensor:
        """True for all parameters: nothing can be masked."""
        return torch.ones_like(self.logits, dtype=torch.bool)

    @property
    def choices(self) -> Tensor:
        """The number of units, ``(*batch,)``: each has more than one value."""
        return torch.full_like(self.logits[..., 0].detach(), self.event_shape[0])

    def levelled(self) -> "Normal":
        """The standard normal node; its parameters keep their derivative."""
        still = self.logits - self.logits.detach()
        return self.at(torch.cat([torch.zeros_like(self.loc), torch.ones_like(self.scale)], -1) + still)

    def refuse_unusable(self, name: str) -> None:
        """Refuses parameters that define no distribution, on every device."""
        if not bool(self.logits.detach().isfinite().all()):
            raise ValueError(f"locations and scales are finite; those of {name!r} hold NaN or infinity")
        _refuse_scale(self.scale, anywhere=True)

    @property
    def cardinality(self) -> int:
        """There is none: the values are continuous."""
        raise self._lacks("enumeration: their values are continuous")

    @property
    def mean(self) -> Tensor:
        """The means, in the shape of a value."""
        return self.loc

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of a vector, summed over the units, unlike ``torch.distributions``."""
        standard = (value.to(self.logits.dtype) - self.loc) / self.scale
        return -(standard.square() / 2 + self.scale.log() + math.log(2 * math.pi) / 2).sum(-1)

    def score(self, value: Tensor) -> Tensor:
        """The derivative of the log-density with respect to means and scales, in the shape of the logits."""
        standard = (value - self.loc) / self.scale
        return torch.cat([standard / self.scale, (standard.square() - 1) / self.scale], -1)

    def entropy(self) -> Tensor:
        """The differential entropy in nats, ``(*batch,)``."""
        return (self.scale.log() + (1 + math.log(2 * math.pi)) / 2).sum(-1)

    def mean_slope(self, direction: Tensor) -> Tensor:
        """The Jacobian of the means with respect to the parameters, transposed, times a direction."""
        return torch.cat([direction, torch.zeros_like(direction)], -1)

    def departures(self) -> Tensor:
        """The number of units: no value is likelier than all others together."""
        return torch.full_like(self.loc[..., 0].detach(), self.event_shape[0])

    def permitted(self, value: Tensor) -> Tensor:
        """The values: nothing can be masked."""
        return value

    def sample(self) -> Tensor:
        """A vector, ``(*batch, units)``, without derivative."""
        return self.discretise(self.noise())

    def noise(self) -> Tensor:
        """Standard normal noise, ``(*batch, units)``."""
        return randn(tuple(self.loc.shape), self.logits)

    def discretise(self, noise: Tensor) -> Tensor:
        """The sample that this noise determines, without derivative."""
        return self.reparametrised(noise).detach()

    def reparametrised(self, noise: Tensor) -> Tensor:
        """The sample that this noise determines, as a differentiable function of the parameters."""
        return self.loc + self.scale * noise

    def noise_slope(self, noise: Tensor, direction: Tensor) -> Tensor:
        """The Jacobian of ``reparametrised`` with respect to the parameters, transposed, times a direction."""
        return torch.cat([direction, direction * noise], -1)

    def most_probable(self) -> Tensor:
        """The means."""
        return self.loc.detach()


def _described(received: Any) -> str:
    if isinstance(received, Tensor):
        return f"{received.dtype} of shape {tuple(received.shape)}"
    return type(received).__name__


def _refuse_scale(scale: Tensor, *, anywhere: bool = False) -> None:
    """Refuses scales that are not above 0; NaN is left to what looks for divergence."""
    if scale.numel() == 0:
        return
    seen = scale.detach().amin() if anywhere else (extremes(scale) or (scale.new_ones(()),))[0]
    if bool(seen <= 0):
        raise ValueError(f"the scale of a normal variable must be above 0; got {float(seen):g} in {scale.dtype}")
