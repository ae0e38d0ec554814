"""Functions from outside: what they are called with, and what is wrong with what they return, in one line."""

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor

from estbench.core.estimator import NotApplicableError
from estbench.core.node import Bernoulli, Node
from estbench.core.transforms import transformed
from estbench.errors import nearest, reason
from estbench.runtime import shared_generators
from estbench.runtime.guard import pass_on

# the logits that a function is tried on: (*batch, variables, classes), or bits
TRIAL = (2, 2, 3)


@dataclass(frozen=True)
class Outside:
    """A function from outside with its options.

    Args:
        function: the function.
        event_dim: 1 if it takes logits ``(*batch, classes)``, 0 if each logit is that of a bit.
        options: its options.
    """

    function: Callable[..., Any]
    event_dim: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)

    def __deepcopy__(self, _memo: object) -> Self:
        # immutable, and what is compiled stays of use
        return self

    @property
    def name(self) -> str:
        """Its name, for messages."""
        return str(getattr(self.function, "__name__", type(self.function).__name__))

    def logits(self, node: Node) -> Tensor:
        """The logits of a node as the function takes them.

        Raises:
            NotApplicableError: it takes bits, and the node has classes.
        """
        if self.event_dim:
            found = node.classes().logits
        elif isinstance(node, Bernoulli):
            found = node.logits
        else:
            raise NotApplicableError(f"{self.name} takes logits of bits; got a {type(node).__name__} node")
        # random numbers that are written into a tensor like this one shall differ between the replicates of a vmap
        return found + torch.rand(0, dtype=found.dtype, device=found.device).sum() if transformed() else found

    def value(self, node: Node, sample: Tensor) -> Tensor:
        """A sample of the function as a value of the node."""
        return node.from_hot(sample) if self.event_dim else sample

    def __call__(self, *inputs: Any) -> Any:
        """What the function returns for these inputs and its options."""
        with warnings.catch_warnings():
            # of operations for which vmap has a loop: slow, and right
            warnings.filterwarnings("ignore", "There is a performance drop because", UserWarning)
            return self.function(*inputs, **self.options)

    def refuse_options(self, given: int) -> None:
        """Checks that it takes so many inputs and these options.

        Raises:
            TypeError: it is no function.
            ValueError: it takes others.
        """
        if self.event_dim not in (0, 1):
            raise ValueError(
                f"event_dim is 1 where the last dimension are classes, or 0 for bits; got {self.event_dim!r}"
            )
        if not callable(self.function):
            raise TypeError(f"a bridge takes a function; got a {type(self.function).__name__}")
        try:
            parameters = inspect.signature(self.function).parameters
        except (TypeError, ValueError):
            # some of those in C do not say what they take
            return
        names = [name for name, each in parameters.items() if each.kind is not each.VAR_POSITIONAL]
        if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
            return
        for key in self.options:
            if key not in names[given:]:
                raise ValueError(f"{self.name} has no option {key!r}; {nearest(key, names[given:])}")

    def trial(self, run: Callable[[Tensor], None]) -> None:
        """Tries the function on a few logits, without an effect on random streams.

        Args:
            run: calls it with logits, and checks what it returns.

        Raises:
            ValueError: it fails, or returns something else than it must.
        """
        shape = TRIAL if self.event_dim else TRIAL[:-1]
        logits = torch.zeros(shape, requires_grad=True)
        with torch.random.fork_rng([]), shared_generators.restored(), torch.enable_grad():
            run(logits)

    @contextmanager
    def told(self, logits: Tensor) -> Iterator[None]:
        """Says of an error which function raised it, and for which logits.

        Raises:
            NotApplicableError: the program that it asked for a cost is not one for it.
            ValueError: the function failed.
        """
        try:
            yield
        except NotApplicableError:
            raise
        except BaseException as error:
            pass_on(error)
            shape = tuple(logits.shape)
            raise ValueError(f"{self.name} fails on logits of shape {shape}: {reason(error)}") from error


def refuse_misshapen(name: str, found: Any, shape: torch.Size, what: str) -> None:
    """Checks the shape of what a function returned.

    Raises:
        ValueError: it is no tensor of this shape.
    """
    if not isinstance(found, Tensor) or found.shape != shape:
        got = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
        raise ValueError(f"{name} must return {what}; got {got}")


def refuse_constant(name: str, found: Tensor) -> None:
    """Checks that what a function returned has a derivative.

    Raises:
        ValueError: it has none.
    """
    if not found.requires_grad:
        raise ValueError(f"what {name} returns has no derivative with respect to the logits")
