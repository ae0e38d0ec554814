"""Model noise: random numbers that a model draws itself, noted in one run and given again in every other.

A dropout mask is the model's, and not the estimator's: a gradient is only defined once the mask is. At a point where
gradients are measured, every run of the model therefore sees the numbers of its first run, whatever is around it:
several samples of a program that are evaluated at once, and replicates that ``torch.func.vmap`` evaluates at once, all
see the same. Operations are caught below autograd and below vmap, so that layers of torch that draw in C++ are too.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from estbench.engine.base import MeasurementError

Operation: TypeAlias = Callable[..., Any]


class CannotHoldError(MeasurementError):
    """A model draws or keeps something that cannot be held from run to run; the message says what."""


class ModelNoise(TorchDispatchMode):
    """Notes what is drawn while it is in place, and gives it again from then on.

    Args:
        inside: whether it is in place while a program runs, where a probability may depend on samples.

    Attributes:
        drawn: what was drawn in a run, in order.
        strange: operations that drew in a way that cannot be repeated.
    """

    def __init__(self, *, inside: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._inside, self._noting, self._listening, self._position = inside, True, True, 0
        self.drawn: list[Tensor] = []
        self.strange: set[str] = set()

    @contextlib.contextmanager
    def noting(self) -> Iterator[None]:
        """Notes what is drawn."""
        with self:
            yield
        self._noting = False

    @contextlib.contextmanager
    def again(self) -> Iterator[None]:
        """Gives again what was noted, from its beginning.

        Raises:
            CannotHoldError: more or less is drawn than was, or in other shapes.
        """
        self._position = 0
        with self if self.drawn else contextlib.nullcontext():
            yield
        if self._position != len(self.drawn):
            raise CannotHoldError(f"the model drew random numbers {len(self.drawn)} times and now {self._position}")

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Lets draw what is not the model."""
        before, self._listening = self._listening, False
        try:
            yield
        finally:
            self._listening = before

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        seeded = isinstance(function, torch._ops.OpOverload) and torch.Tag.nondeterministic_seeded in function.tags  # noqa: SLF001
        if not (seeded and self._listening):
            return function(*args, **kwargs)
        rule = _RULES.get(function.overloadpacket.__name__) if _repeats(function, args) else None
        if rule is None:
            return self._stranger(function, args, kwargs)
        if function is torch.ops.aten.bernoulli.default and self._inside:
            rule = _compared
        return rule(self._next, function, args, kwargs)

    def _next(self, draw: Callable[[], Tensor], shape: tuple[int, ...]) -> Tensor:
        """What is drawn next: at the first run by ``draw``, then again, in this shape."""
        if self._noting:
            self.drawn.append(draw().detach().clone())
            return self.drawn[-1].clone()
        if self._position >= len(self.drawn):
            raise CannotHoldError("the model draws more random numbers than at its first run")
        self._position += 1
        return _spread(self.drawn[self._position - 1], shape)

    def _stranger(self, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        before = _states()
        result = function(*args, **kwargs)
        # some operations may draw and do not, such as attention without dropout
        if self._noting and any(not torch.equal(one, other) for one, other in zip(before, _states(), strict=True)):
            self.strange.add(str(function.overloadpacket.__name__))
        return result


def _states() -> list[Tensor]:
    found = [torch.get_rng_state()]
    return [*found, torch.cuda.get_rng_state()] if torch.cuda.is_initialized() else found


def _repeats(function: Any, args: tuple[Any, ...]) -> bool:
    """Whether what an operation draws depends on nothing but shapes and numbers."""
    tensors = sum(isinstance(each, Tensor) for each in args)
    # torch.normal with tensors, bernoulli_ with a tensor of probabilities
    return not tensors or (tensors == 1 and function.overloadpacket is not torch.ops.aten.normal)


def _spread(values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The same values for all leading dimensions, be they apart or flattened into the first of the values' own."""
    own = tuple(values.shape)
    lead = len(shape) - len(own)
    if lead >= 0 and shape[lead:] == own:
        return values.expand(shape).clone()
    if own and lead >= 0 and shape[lead + 1 :] == own[1:] and own[0] and shape[lead] % own[0] == 0:
        return values.repeat(shape[lead] // own[0], *(1,) * (len(own) - 1)).expand(shape).clone()
    raise CannotHoldError(
        f"the model drew random numbers of shape {own} and now asks for {shape}; they can be held where samples are "
        f"leading dimensions"
    )


def _wanted(args: tuple[Any, ...]) -> tuple[int, ...]:
    """The shape of what an operation draws."""
    if isinstance(args[0], Tensor):
        return tuple(args[0].shape)
    sizes = [each for each in args if isinstance(each, (list, tuple))]
    return tuple(sizes[0]) if sizes else (int(args[0]),)


Next: TypeAlias = Callable[[Callable[[], Tensor], tuple[int, ...]], Tensor]


def _made(following: Next, function: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    """A new tensor."""
    values = following(lambda: function(*args, **kwargs), _wanted(args))
    dtype = kwargs.get("dtype") or (args[0].dtype if isinstance(args[0], Tensor) else values.dtype)
    return values.to(dtype)


def _filled(following: Next, function: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    """A tensor that is written to."""
    target: Tensor = args[0]
    return target.copy_(following(lambda: function(*args, **kwargs), tuple(target.shape)))


def _compared(following: Next, function: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:  # noqa: ARG001
    """Whether noise is below probabilities, which may be others in every run."""
    p: Tensor = args[0]
    return (following(lambda: torch.rand_like(p), tuple(p.shape)) < p).to(p.dtype)


def _dropped(
    following: Next, function: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Tensor, Tensor]:
    """A tensor with some entries dropped, and which are not."""
    x, p, *_ = args
    mask = following(lambda: function(*args, **kwargs)[1], tuple(x.shape))
    return x * mask * (1 / (1 - p) if p < 1 else 0), mask


_RULES: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like"), _made),
    **dict.fromkeys(("bernoulli", "normal"), _made),
    **dict.fromkeys(("bernoulli_", "uniform_", "normal_", "exponential_", "random_", "geometric_"), _filled),
    **dict.fromkeys(("cauchy_", "log_normal_"), _filled),
    "native_dropout": _dropped,
}
