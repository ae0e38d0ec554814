"""Checks and clean-up of logits: half precision, masked classes, and values that define no distribution.

A class is masked by a logit of minus infinity, or by one that is ``REACH`` or more below the largest of its variable:
its probability is 0 in every dtype. Since arithmetic with infinities gives NaN (``0 * inf``), masked logits are
replaced by finite ones far below the largest. Probabilities, relaxed values and gradients of masked classes are then
exactly 0. In the same way, a logit of ``REACH`` or more in magnitude fixes a bit.
"""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)

from estbench.core.transforms import transformed

# exp(-REACH) is 0 in float64, even at a temperature of 5; no logit in use is that far from the others of its variable
REACH = 5e3
# distance of masked classes from the largest logit: relaxed values are 0 there at any temperature up to 100
DEPTH = 1e5
# distance in the input of baselines: large enough to be recognised, small enough not to dominate the other inputs
SHOWN = 10.0


def at_least_float32(values: Tensor) -> Tensor:
    """The values in float32 if their dtype has lower precision; gradients flow back in the original dtype."""
    return values if values.dtype.itemsize >= 4 else values.float()


def bounded_bits(logits: Tensor) -> tuple[Tensor, bool]:
    """Logits of bits ``(*batch, units)`` clamped to ±REACH, fixed ones without gradient; whether any may be fixed."""
    seen = extremes(logits)
    if seen is not None and seen[0] > -REACH and seen[1] < REACH:
        return logits, False
    return F.hardtanh(logits, -REACH, REACH), True


def bounded_classes(logits: Tensor) -> tuple[Tensor, bool]:
    """Logits ``(*batch, units, classes)``, with masked ones finite and without gradient; whether any may be masked.

    Raises:
        ValueError: all classes of a variable are masked (checked only where reading the values is cheap).
    """
    seen = extremes(logits)
    if logits.numel() == 0 or (seen is not None and seen[0] > seen[1] - REACH):
        return logits, False
    top = _top(logits)
    if seen is not None and not transformed():
        _refuse_empty(top)
    return torch.where(logits <= top - REACH, top - DEPTH, logits), True


def subset_masks(logits: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Which items are never and which are always in a subset of this size, in the shape of the logits.

    An item is never in it if its logit is ``REACH`` or more below the ``size``-th largest, and always if it is one of
    the ``size`` largest and ``REACH`` or more above the next.
    """
    last, following = _border(logits, size)
    logits = logits.detach()
    always = (logits >= last) & (logits >= following + REACH)
    return (logits < last) & (logits <= last - REACH), always


def last_of_subset(logits: Tensor, size: int) -> Tensor:
    """The ``size``-th largest logit, ``(*batch, 1)``, without derivative."""
    return _border(logits, size)[0]


def bounded_subset(logits: Tensor, size: int) -> tuple[Tensor, bool]:
    """Logits of items ``(*batch, items)``, with masked ones finite and without gradient; whether any may be masked.

    Raises:
        ValueError: masks leave no subset of this size (checked only where reading the values is cheap).
    """
    seen = extremes(logits)
    if logits.numel() == 0 or (seen is not None and seen[1] - seen[0] < REACH):
        return logits, False
    if seen is not None and not transformed():
        refuse_no_subset(logits, size)
    never, always = subset_masks(logits, size)
    last, following = _border(logits, size)
    # where there is no subset, all logits become NaN
    none = last.isneginf() | following.isposinf()
    centre = torch.where(none, torch.nan, torch.where(last.isposinf(), 0.0, last))
    return torch.where(always, centre + DEPTH, torch.where(never, centre - DEPTH, logits)), True


def refuse_no_subset(logits: Tensor, size: int) -> None:
    """Refuses logits whose masks leave no subset of this size.

    Raises:
        ValueError: fewer than ``size`` items of a vector are not masked by -inf, or more are fixed by +inf.
    """
    low, high = logits.isneginf().sum(-1), logits.isposinf().sum(-1)
    items = logits.shape[-1]
    if bool((low > items - size).any()):
        raise ValueError(
            f"a subset of {size} of {items} items needs at least {size} that are not masked by -inf; got a vector with "
            f"{items - int(low.max())}"
        )
    if bool((high > size).any()):
        raise ValueError(
            f"at most {size} items can always be in a subset of {size}; got a vector with {int(high.max())} logits "
            "of +inf"
        )


def refuse_unusable(name: str, logits: Tensor) -> None:
    """Refuses logits that define no distribution, on every device.

    Nodes do not check this themselves: in training, such logits are a sign of divergence, which the training loop
    detects and reports.

    Args:
        name: the node's name, for the message.
        logits: the logits of a node.

    Raises:
        ValueError: a logit is NaN or infinite.
    """
    logits = logits.detach()
    _refuse_empty(logits)
    if not bool(logits.isfinite().all()):
        found = "NaN" if bool(logits.isnan().any()) else "inf; to fix a class, mask the others by -inf"
        raise ValueError(f"logits are finite, or -inf where a class is masked; those of {name!r} hold {found}")


def free_classes(logits: Tensor) -> Tensor:
    """Which classes are not masked, in the shape of the logits."""
    return logits > _top(logits) - REACH


def free_bits(logits: Tensor) -> Tensor:
    """Which bits are not fixed, in the shape of the logits."""
    return logits.abs() < REACH


def shown_bits(logits: Tensor) -> Tensor:
    """Logits as baselines see them: fixed bits at a moderate distance."""
    return torch.where(free_bits(logits), logits, SHOWN * logits.sign())


def shown_classes(logits: Tensor) -> Tensor:
    """Logits as baselines see them: masked classes at a moderate distance from the largest."""
    return torch.where(free_classes(logits), logits, _top(logits) - SHOWN)


def _border(logits: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The ``size``-th largest logit and the next, ``(*batch, 1)``; after the last there is minus infinity."""
    largest = logits.detach().topk(min(size + 1, logits.shape[-1]), -1).values
    last = largest[..., size - 1 : size]
    return last, largest[..., size:] if largest.shape[-1] > size else torch.full_like(last, -torch.inf)


def _top(logits: Tensor) -> Tensor:
    return logits.detach().amax(-1, keepdim=True)


def _refuse_empty(logits: Tensor) -> None:
    if bool(logits.isneginf().any()):
        raise ValueError(
            "every variable needs a class that is not masked; got one whose logits are all -inf: leave such variables "
            "out of the node, or allow them one class"
        )


def extremes(logits: Tensor) -> tuple[Tensor, Tensor] | tuple[float, float] | None:
    """The smallest and the largest logit, NaN if any is NaN; None where reading them would be too slow.

    On a CPU this takes a hundredth of a training step. On a GPU the host would have to wait for the device. While a
    step is recorded they are tensors, so that a caller reads only what it decides: a replay tests whether that is the
    same again. Numbers are compared faster.
    """
    if logits.device.type != "cpu" or logits.numel() == 0 or torch.compiler.is_compiling():
        return None
    low, high = torch.aminmax(_plain(logits))
    # torch has no public way to ask whether operations are being recorded
    return (low, high) if torch._C._len_torch_dispatch_stack() else (low.item(), high.item())  # noqa: SLF001


def _plain(values: Tensor) -> Tensor:
    """The tensor under the wrappers of ``torch.func``'s transforms, including the dimensions that ``vmap`` hides."""
    while torch._C._functorch.is_functorch_wrapped_tensor(values):  # noqa: SLF001  (torch has no public way to ask)
        values = torch._C._functorch.get_unwrapped(values)  # noqa: SLF001
    return values.detach()
