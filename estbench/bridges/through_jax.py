"""The bridge for functions in JAX: arrays pass by DLPack, and derivatives through functions of torch's autograd.

JAX is imported when a function is first called. Seeds of its keys are drawn from torch's generator.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from estbench.bridges.losses import SurrogateFunction
from estbench.bridges.outside import Outside
from estbench.bridges.samples import PathwiseFunction

Cost = Callable[[Tensor], Tensor]


class JaxFunction:
    """A function in JAX as one of torch, with the key left out.

    Args:
        function: takes arrays.
        jit: whether JAX compiles it.
    """

    def __init__(self, function: Callable[..., Any], *, jit: bool) -> None:
        self.function, self.jit = function, jit
        self._compiled: dict[str, Callable[..., Any]] = {}

    def __getstate__(self) -> Mapping[str, Any]:
        # what JAX has compiled stays in this process
        return {"function": self.function, "jit": self.jit, "_compiled": {}}

    @property
    def __name__(self) -> str:
        """The function's name."""
        return str(getattr(self.function, "__name__", type(self.function).__name__))

    @property
    def __signature__(self) -> inspect.Signature:
        """The function's signature without the key."""
        found = inspect.signature(self.function)
        return found.replace(parameters=[each for name, each in found.parameters.items() if name != "key"])

    def compiled(self, options: Mapping[str, Any], make: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
        """What ``make`` returns, compiled if that is wished; made once for each options."""
        import jax  # noqa: PLC0415  (slow, and for few)

        key = repr(sorted(options.items()))
        if key not in self._compiled:
            self._compiled[key] = jax.jit(make()) if self.jit else make()
        return self._compiled[key]


class JaxSample(JaxFunction):
    """A function of logits and a key that returns a differentiable sample."""

    def __call__(self, logits: Tensor, **options: Any) -> Tensor:
        """A sample in the shape of the logits."""
        import jax  # noqa: PLC0415  (slow, and for few)

        def make() -> Callable[..., Any]:
            function = functools.partial(self.function, **options)
            return lambda logits, key: jax.vjp(lambda own: _first(function(own, key)), logits)

        return _pulled(self.compiled(options, make), logits)


class JaxLoss(JaxFunction):
    """A function of a cost, logits and a key that returns a loss.

    Args:
        function: takes a function of arrays, and arrays.
        jit: whether JAX compiles it.
        event_ndim: the dimensions of a sample that its cost sums up.
    """

    def __init__(self, function: Callable[..., Any], *, jit: bool, event_ndim: int) -> None:
        super().__init__(function, jit=jit)
        self.event_ndim = event_ndim
        self._cost: Cost | None = None

    def __getstate__(self) -> Mapping[str, Any]:
        return {**super().__getstate__(), "event_ndim": self.event_ndim, "_cost": None}

    def __call__(self, cost: Cost, logits: Tensor, **options: Any) -> Tensor:
        """A scalar whose derivative is that of the function's loss."""
        import jax  # noqa: PLC0415  (slow, and for few)

        def make() -> Callable[..., Any]:
            function, own_cost = functools.partial(self.function, **options), self._as_jax()
            return lambda logits, key: jax.vjp(lambda own: _first(function(own_cost, own, key)), logits)

        # what is compiled outlives this cost
        self._cost = cost
        try:
            return _pulled(self.compiled(options, make), logits)
        finally:
            self._cost = None

    def _as_jax(self) -> Callable[[Any], Any]:
        """The cost of this call as a function of arrays, with its derivative."""
        import jax  # noqa: PLC0415  (slow, and for few)

        def called(sample: Any) -> Any:
            like = jax.ShapeDtypeStruct(sample.shape[: sample.ndim - self.event_ndim], sample.dtype)
            slope = jax.ShapeDtypeStruct(sample.shape, sample.dtype)
            return jax.pure_callback(self._numbers, (like, slope), sample, vmap_method="broadcast_all")

        def pulled(slope: Any, weights: Any) -> Any:
            return (slope * weights.reshape(*weights.shape, *(1,) * self.event_ndim),)

        cost: Any = jax.custom_vjp(lambda sample: called(sample)[0])
        cost.defvjp(called, pulled)
        # samples of JAX's libraries are often whole numbers, which have no derivative
        return lambda sample: cost(sample.astype(jax.numpy.result_type(sample, jax.numpy.float32)))

    def _numbers(self, sample: Any) -> tuple[Any, Any]:
        """Costs and their slopes, from and to arrays."""
        import numpy as np  # noqa: PLC0415  (beside jax)

        if self._cost is None:
            raise RuntimeError("the cost was asked for after the function had returned")
        given = np.asarray(sample)
        with torch.enable_grad():
            at = torch.tensor(given).requires_grad_()
            found = self._cost(at)
            (slope,) = torch.autograd.grad(found.sum(), at, allow_unused=True, materialize_grads=True)
        return found.detach().numpy().astype(given.dtype), slope.numpy().astype(given.dtype)


@functools.lru_cache(maxsize=64)
def _sample_of(function: Callable[..., Any], jit: bool) -> JaxSample:
    """The shared instance for a function, so that it is compiled once."""
    return JaxSample(function, jit=jit)


@functools.lru_cache(maxsize=64)
def _loss_of(function: Callable[..., Any], jit: bool, event_ndim: int) -> JaxLoss:
    """The shared instance for a function, so that it is compiled once."""
    return JaxLoss(function, jit=jit, event_ndim=event_ndim)


class _Pulled(torch.autograd.Function):
    """The value of a function in JAX; its derivative is what JAX pulls back."""

    @staticmethod
    def forward(ctx: Any, function: Callable[..., Any], key: Any, logits: Tensor) -> Tensor:
        """The value."""
        value, ctx.pullback = function(_given(logits), key)
        ctx.dtype = value.dtype
        return _taken(value).to(logits.dtype)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[None, None, Tensor]:
        """The derivative with respect to the logits."""
        import jax  # noqa: PLC0415  (slow, and for few)

        (pulled,) = ctx.pullback(jax.numpy.asarray(_given(slopes[0]), ctx.dtype))
        return None, None, _taken(pulled).to(slopes[0].dtype)


def _pulled(function: Callable[..., Any], logits: Tensor) -> Tensor:
    """The value of a function for a new key."""
    found: Tensor = _Pulled.apply(function, _key(), logits)  # type: ignore[no-untyped-call]
    return found


def _first(found: Any) -> Any:
    return found[0] if isinstance(found, tuple) else found


def _key() -> Any:
    """A key from torch's generator."""
    import jax  # noqa: PLC0415  (slow, and for few)

    return jax.random.PRNGKey(int(torch.randint(2**31 - 1, ())))


def _given(values: Tensor) -> Any:
    """Values of torch as an array of JAX; in single precision, if JAX knows no other."""
    import jax  # noqa: PLC0415  (slow, and for few)

    values = values.detach()
    return jax.dlpack.from_dlpack((values if jax.config.jax_enable_x64 else values.float()).contiguous())


def _taken(values: Any) -> Tensor:
    """An array of JAX as values of torch, which may be changed in place."""
    return from_dlpack(values).clone()


def jax(
    function: Callable[..., Any],
    *,
    surrogate: bool = False,
    jit: bool = True,
    event_dim: int = 1,
    unbiased: bool | None = None,
    exact_samples: bool | None = None,
    differentiates: bool = False,
    couples_examples: bool = False,
    **options: Any,
) -> PathwiseFunction | SurrogateFunction:
    """An estimator from a function in JAX; its replicates are drawn in a loop.

    Args:
        function: called as ``function(logits, key, **options)``, it returns a differentiable sample, as one that
            ``pathwise`` takes; or ``function(cost, logits, key, **options)``, and it returns a loss. The key must be
            called ``key``. ``cost`` maps arrays to arrays; it can be differentiated, mapped and compiled.
        surrogate: whether the function returns a loss. It sees the costs as numbers, as with ``detached=True`` of
            ``surrogate``.
        jit: whether JAX compiles the function.
        event_dim: 1 if the function takes logits of classes, 0 if each logit is that of a bit.
        unbiased: whether the gradient is declared to be unbiased; by default that of a loss is.
        exact_samples: whether samples are declared to follow the node's own distribution, as for ``pathwise``.
        differentiates: whether a loss uses the derivative of the cost with respect to samples.
        couples_examples: whether the gradient of an example may depend on the samples of others.
        options: options of the function.

    Raises:
        ValueError: JAX is not installed, or the function does not do what it must.
    """
    try:
        import jax as library  # noqa: F401, PLC0415  (slow, and for few)
    except ImportError as error:
        raise ValueError("a function in JAX needs the package jax, which is not installed: pip install jax") from error
    if not surrogate:
        return PathwiseFunction(
            Outside(_sample_of(function, jit), event_dim, options),
            unbiased=bool(unbiased),
            exact_samples=exact_samples,
            couples_examples=couples_examples,
        )
    return SurrogateFunction(
        Outside(_loss_of(function, jit, 1 + event_dim), event_dim, options),
        detached=True,
        unbiased=unbiased is not False,
        differentiates=differentiates,
        couples_examples=couples_examples,
    )
