"""Replicates of a gradient, drawn by vmap, or in a loop if vmap cannot map the estimator."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value, vmap

from estbench.testing.programs import Estimate

CHUNK = 8192


class NotFiniteError(ArithmeticError):
    """An estimate is infinite or not a number."""


def one_gradient(bench: Estimate, **call: object) -> tuple[Tensor, dict[str, Tensor]]:
    """One call: the scalar and its gradient by parameter of model and estimator, zero where there is none."""
    named = dict(bench.named_parameters())
    value = bench(**call)
    if value.shape != ():
        raise ValueError(f"an estimator returns a scalar; got shape {tuple(value.shape)}")
    found = torch.autograd.grad(value, list(named.values()), allow_unused=True, materialize_grads=True)
    return value.detach(), dict(zip(named, found, strict=True))


def replicates(bench: Estimate, n: int, chunk: int = CHUNK) -> Iterator[tuple[Tensor, Tensor]]:
    """Values ``(chunk,)`` and gradients for the model ``(chunk, size)``, in chunks until there are ``n``.

    Raises:
        NotFiniteError: an estimate is infinite or not a number.
    """
    for values, gradients in (_looped if bench.looped else _mapped)(bench, n, chunk):
        bad = int((~(gradients.isfinite().all(1) & values.isfinite())).sum())
        if bad:
            raise NotFiniteError(f"{bad} of {len(values)} estimates are infinite or not a number")
        yield values, gradients


def value_replicates(bench: Estimate, n: int, chunk: int = CHUNK) -> Iterator[Tensor]:
    """Values without gradients, ``(chunk,)``, in chunks until there are ``n``.

    Raises:
        NotFiniteError: a value is infinite or not a number.
    """
    many = vmap(lambda _: bench(), randomness="different")
    device = next(iter(bench.parameters())).device
    for start in range(0, n, chunk):
        size = min(chunk, n - start)
        with torch.no_grad():
            values = (
                torch.stack([bench() for _ in range(size)]) if bench.looped else many(torch.zeros(size, device=device))
            )
        if not values.isfinite().all():
            raise NotFiniteError(f"one of {size} values is infinite or not a number")
        yield values.cpu()


def _looped(bench: Estimate, n: int, chunk: int) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, n, chunk):
        found = [one_gradient(bench) for _ in range(min(chunk, n - start))]
        rows = [torch.cat([g.flatten() for name, g in own.items() if name.startswith("model.")]) for _, own in found]
        yield torch.stack([value for value, _ in found]).cpu(), torch.stack(rows).cpu()


def _mapped(bench: Estimate, n: int, chunk: int) -> Iterator[tuple[Tensor, Tensor]]:
    own = {name: p.detach() for name, p in bench.named_parameters() if name.startswith("model.")}
    rest = {name: t.detach() for name, t in [*bench.named_parameters(), *bench.named_buffers()] if name not in own}

    def once(_: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        return grad_and_value(lambda own: functional_call(bench, {**own, **rest}, ()))(own)

    many = vmap(once, randomness="different")
    device = next(iter(own.values())).device
    for start in range(0, n, chunk):
        size = min(chunk, n - start)
        gradients, values = many(torch.zeros(size, device=device))
        yield values.cpu(), torch.cat([g.flatten(1) for g in gradients.values()], 1).cpu()
