"""Model noise: random numbers that a model draws itself are recorded in one run and replayed in all others.

A dropout mask belongs to the model, not to the estimator, and the gradient is defined only for a given mask. At a point
where gradients are measured, every run of the model therefore receives the numbers of its first run. These are the same
for several samples of a program that are evaluated at once, and for replicates under ``torch.func.vmap``. Operations
are intercepted below autograd and vmap, which includes torch's layers that draw in C++.
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
    """A model draws numbers or keeps state that cannot be fixed from run to run; the message says which."""


class ModelNoise(TorchDispatchMode):
    """Records the random numbers drawn inside a context, and replays them later.

    Args:
        inside: whether the numbers are drawn while a program runs, where a probability may depend on samples.

    Attributes:
        drawn: the numbers drawn in a run, in order.
        strange: operations that drew in a way that cannot be repeated.
    """

    def __init__(self, *, inside: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._inside, self._noting, self._listening, self._position = inside, True, True, 0
        self.drawn: list[Tensor] = []
        self.strange: set[str] = set()

    @contextlib.contextmanager
    def noting(self) -> Iterator[None]:
        """Records what is drawn inside the context."""
        with self:
            yield
        self._noting = False

    @contextlib.contextmanager
    def again(self) -> Iterator[None]:
        """Replays the recorded numbers from the beginning inside the context.

        Raises:
            CannotHoldError: the number or the shapes of the draws differ from the recorded ones.
        """
        self._position = 0
        with self if self.drawn else contextlib.nullcontext():
            yield
        if self._position != len(self.drawn):
            raise CannotHoldError(f"the model drew random numbers {len(self.drawn)} times and now {self._position}")

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Lets code that is not part of the model draw normally inside the context."""
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
        """The next numbers: drawn by ``draw`` in the first run, replayed in this shape afterwards."""
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
        # some operations can draw but do not always, such as attention without dropout
        if self._noting and any(not torch.equal(one, other) for one, other in zip(before, _states(), strict=True)):
            self.strange.add(str(function.overloadpacket.__name__))
        return result


def _states() -> list[Tensor]:
    found = [torch.get_rng_state()]
    return [*found, torch.cuda.get_rng_state()] if torch.cuda.is_initialized() else found


def _repeats(function: Any, args: tuple[Any, ...]) -> bool:
    """Whether the draws of an operation depend only on shapes and plain numbers."""
    tensors = sum(isinstance(each, Tensor) for each in args)
    # torch.normal with tensors, bernoulli_ with a tensor of probabilities
    return not tensors or (tensors == 1 and function.overloadpacket is not torch.ops.aten.normal)


def _spread(values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The values expanded to all leading dimensions, which may be flattened into the values' first dimension."""
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
    """The shape of the numbers that an operation draws."""
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
    """Writes into the tensor that the operation changes in place."""
    target: Tensor = args[0]
    return target.copy_(following(lambda: function(*args, **kwargs), tuple(target.shape)))


def _compared(following: Next, function: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:  # noqa: ARG001
    """Bernoulli draws: whether recorded noise is below the probabilities, which may differ between runs."""
    p: Tensor = args[0]
    return (following(lambda: torch.rand_like(p), tuple(p.shape)) < p).to(p.dtype)


def _dropped(
    following: Next, function: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Tensor, Tensor]:
    """Dropout: the tensor with some entries set to 0, and the mask of the others."""
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
