"""Random routing: torch's own random functions take their numbers from a tape."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)
from torch.overrides import TorchFunctionMode, resolve_name

from estbench.core.noise import NORMAL, UNIFORM, Law
from estbench.engine.training.random_tape import CannotTogetherError, Tape

Handler: TypeAlias = Callable[..., Tensor]


class Routed(TorchFunctionMode):
    """Answers calls of torch's functions for random numbers from a tape.

    It intercepts every call of a torch function, which costs a small model a seventh of its time. It is therefore not
    used for code that draws through ``estbench.core.noise`` only.

    Args:
        tape: the tape.

    Attributes:
        used: whether any of torch's own random functions was called.
    """

    def __init__(self, tape: Tape) -> None:
        super().__init__()
        self._tape, self.used = tape, False

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """The function's result, or the numbers of the tape instead."""
        kwargs = kwargs or {}
        if kwargs.get("generator") is self._tape.generator:
            # this call comes from the tape itself, which is being filled
            return func(*args, **kwargs)
        if func in _HANDLERS:
            self.used = True
            return _HANDLERS[func](self._tape, *args, **kwargs)
        if func in _STRANGERS:
            if self._tape.replica is not None and kwargs.get("generator") is not None:
                raise CannotTogetherError(f"{resolve_name(func)} takes a generator, and replicas have one each")
            self._tape.strangers.add(str(resolve_name(func)))
        return func(*args, **kwargs)


def _shape(size: Sequence[Any]) -> tuple[int, ...]:
    return tuple(size[0]) if len(size) == 1 and isinstance(size[0], (tuple, list)) else tuple(size)


def _made(law: Law) -> Handler:
    def made(tape: Tape, *size: Any, dtype: torch.dtype | None = None, device: Any = None, **options: Any) -> Tensor:
        place = torch.device(device) if device is not None else torch.get_default_device()
        shape = _shape(size or (options["size"],))
        return tape.draw(law, shape, dtype or torch.get_default_dtype(), place)

    return made


def _like(law: Law) -> Handler:
    def like(tape: Tape, x: Tensor, *, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
        return tape.draw(law, tuple(x.shape), dtype or x.dtype, x.device)

    return like


def _integers(tape: Tape, *bounds: Any, dtype: torch.dtype | None = None, device: Any = None, **_: Any) -> Tensor:
    low, high, size = (0, *bounds)[-3:]
    place = torch.device(device) if device is not None else torch.get_default_device()
    return tape.draw(Law("integers", low, high), tuple(size), dtype or torch.long, place)


def _bernoulli(tape: Tape, probabilities: Tensor, **_: Any) -> Tensor:
    u = tape.draw(UNIFORM, tuple(probabilities.shape), probabilities.dtype, probabilities.device)
    return (u < probabilities).to(probabilities.dtype)


def _bernoulli_(tape: Tape, x: Tensor, p: Any = 0.5, **_: Any) -> Tensor:
    return x.copy_(tape.draw(UNIFORM, tuple(x.shape), x.dtype, x.device) < p)


def _uniform_(tape: Tape, x: Tensor, low: float = 0.0, high: float = 1.0, **_: Any) -> Tensor:
    return x.copy_(low + (high - low) * tape.draw(UNIFORM, tuple(x.shape), x.dtype, x.device))


def _normal_(tape: Tape, x: Tensor, mean: float = 0.0, std: float = 1.0, **_: Any) -> Tensor:
    return x.copy_(mean + std * tape.draw(NORMAL, tuple(x.shape), x.dtype, x.device))


def _exponential_(tape: Tape, x: Tensor, lambd: float = 1.0, **_: Any) -> Tensor:
    u = tape.draw(UNIFORM, tuple(x.shape), x.dtype, x.device)
    return x.copy_(-torch.log1p(-u) / lambd)


def _noise(tape: Tape, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Uniform noise for a tensor, in at least float32: half precision is too coarse to compare with probabilities."""
    dtype = x.dtype if x.dtype == torch.float64 else torch.float32
    return tape.draw(UNIFORM, shape, dtype, x.device)


def _dropping(
    features: Callable[[Tensor], tuple[int, ...]], scaled: Callable[[Tensor, Tensor, float], Tensor]
) -> Handler:
    """Dropout with one random number per entry of ``shape``; entries that are kept are scaled up."""

    def dropped(tape: Tape, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not training or p == 0:
            return x
        if not 0 <= p <= 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        found = scaled(x, (_noise(tape, x, features(x)) >= p).to(x.dtype), p)
        return x.copy_(found) if inplace else found

    return dropped


def _entries(x: Tensor) -> tuple[int, ...]:
    return tuple(x.shape)


def _channels(unbatched: int) -> Callable[[Tensor], tuple[int, ...]]:
    """The shape with one entry per channel; an input with this many dimensions has no batch."""

    def channels(x: Tensor) -> tuple[int, ...]:
        kept = 1 if x.ndim == unbatched else 2
        return (*x.shape[:kept], *(1,) * (x.ndim - kept))

    return channels


def _zeroed(x: Tensor, mask: Tensor, p: float) -> Tensor:
    return x * (mask / (1 - p)) if p < 1 else x * mask


def _saturated(x: Tensor, mask: Tensor, p: float) -> Tensor:
    """Alpha dropout, which keeps mean and variance: Klambauer et al. (2017), https://arxiv.org/abs/1706.02515."""
    alpha = 1.7580993408473766
    a = 1 / math.sqrt((alpha**2 * p + 1) * (1 - p)) if p < 1 else 0.0
    return a * (x * mask + alpha * (mask - 1)) + alpha * a * p


_HANDLERS: Mapping[Any, Handler] = {
    **dict.fromkeys((F.dropout, torch.dropout), _dropping(_entries, _zeroed)),
    F.dropout1d: _dropping(_channels(2), _zeroed),
    # with three dimensions, torch takes the first one as the batch
    **dict.fromkeys((F.dropout2d, torch.feature_dropout), _dropping(_channels(0), _zeroed)),
    F.dropout3d: _dropping(_channels(4), _zeroed),
    **dict.fromkeys((F.alpha_dropout, torch.alpha_dropout), _dropping(_entries, _saturated)),
    **dict.fromkeys((F.feature_alpha_dropout, torch.feature_alpha_dropout), _dropping(_channels(0), _saturated)),
    torch.rand: _made(UNIFORM),
    torch.randn: _made(NORMAL),
    torch.rand_like: _like(UNIFORM),
    torch.randn_like: _like(NORMAL),
    torch.randint: _integers,
    torch.bernoulli: _bernoulli,
    Tensor.bernoulli: _bernoulli,
    Tensor.bernoulli_: _bernoulli_,
    Tensor.uniform_: _uniform_,
    Tensor.normal_: _normal_,
    Tensor.exponential_: _exponential_,
}
_STRANGERS = frozenset(
    {
        *(torch.multinomial, torch.normal, torch.poisson, torch.randperm, torch.randint_like),
        *(Tensor.multinomial, Tensor.random_, Tensor.geometric_, Tensor.log_normal_, Tensor.cauchy_),
        *(F.gumbel_softmax, F.rrelu),
    }
)
