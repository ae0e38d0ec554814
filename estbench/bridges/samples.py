"""The bridge for functions from logits to a differentiable sample."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from estbench.bridges.outside import Outside, refuse_constant, refuse_misshapen
from estbench.core.node import Node
from estbench.families.pathwise import Pathwise

# variables to tell by whether samples are exact, and how far rounding may take an exact one from 0 and 1
MANY, ROUNDING = 64, 1e-4


class PathwiseFunction(Pathwise):
    """An estimator from a function that returns a differentiable sample; ``pathwise`` makes it.

    Args:
        outside: the function with its options.
        unbiased: whether its gradient is declared to be unbiased.
        exact_samples: whether it is declared to draw from the node's own distribution; by default it is if all its
            samples are 0 or 1.
        couples_examples: whether it lets the gradient of an example depend on the samples of others.
    """

    unbiased = False
    mappable = False

    def __init__(
        self,
        outside: Outside,
        *,
        unbiased: bool = False,
        exact_samples: bool | None = None,
        couples_examples: bool = False,
    ) -> None:
        super().__init__()
        self.outside, self.unbiased, self.couples_examples = outside, unbiased, couples_examples
        outside.refuse_options(1)
        outside.trial(self._tried)
        # where samples do not follow q, the score of log q has a mean, and stays in the cost
        self.hard = self.exact_samples = self.binary if exact_samples is None else exact_samples

    def _tried(self, logits: Tensor) -> None:
        """Calls the function on a few logits, and finds out whether its samples are exact."""
        refuse_constant(self.outside.name, self._sample(logits))
        with torch.no_grad():
            sample = self._sample(torch.zeros(MANY, *logits.shape))
        self.binary = bool(((sample - sample.round()).abs() < ROUNDING).all())

    def _sample(self, logits: Tensor) -> Tensor:
        with self.outside.told(logits):
            found = self.outside(logits)
        sample = found[0] if isinstance(found, tuple) else found
        what = f"a sample in the shape of its logits, {tuple(logits.shape)}"
        refuse_misshapen(self.outside.name, sample, logits.shape, what)
        return sample.to(logits.dtype)

    def sample(self, name: str, node: Node) -> Tensor:  # noqa: ARG002
        """The function's sample."""
        return self.outside.value(node, self._sample(self.outside.logits(node)))


def pathwise(
    function: Callable[..., Any],
    *,
    event_dim: int = 1,
    unbiased: bool = False,
    exact_samples: bool | None = None,
    couples_examples: bool = False,
    **options: Any,
) -> PathwiseFunction:
    """An estimator from any function from logits to a differentiable sample.

    Args:
        function: called as ``function(logits, **options)``; it returns a sample in the shape of the logits, or a tuple
            that begins with one. Bits are given to it as variables of two classes.
        event_dim: 1 if the function takes logits ``(*batch, classes)`` and returns one-hot or relaxed samples; 0 if
            each logit is that of a bit.
        unbiased: whether the gradient is declared to be unbiased; the checks hold it to that.
        exact_samples: whether samples are declared to follow the node's own distribution; by default they are if all
            of them are 0 or 1. The checks hold it to that, too.
        couples_examples: whether the gradient of an example may depend on the samples of others.
        options: options of the function; one with a name of the above can be bound by ``functools.partial``.

    Raises:
        TypeError: it is no function.
        ValueError: it has no such option, fails, or returns no differentiable sample.

    Example:
        >>> import torch.nn.functional as F
        >>> estimator = pathwise(F.gumbel_softmax, tau=0.5, hard=True)
        >>> estimator.hard, estimator.unbiased
        (True, False)
    """
    return PathwiseFunction(
        Outside(function, event_dim, options),
        unbiased=unbiased,
        exact_samples=exact_samples,
        couples_examples=couples_examples,
    )
