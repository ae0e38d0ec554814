"""Logits as models give them: in half precision, with masked classes, or with numbers that no distribution has.

A class is masked by a logit of minus infinity, or by one that is ``REACH`` or more below the largest of its variable:
its probability is 0 in every dtype. Arithmetic with infinities makes NaN (``0 * inf``), so masked logits are put at a
finite depth below the largest. What follows from them is then finite, and right: probabilities, relaxed values and
gradients of masked classes are exactly 0. A bit is fixed in the same way, by a logit of ``REACH`` or more in magnitude.
"""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)

from estbench.core.transforms import transformed

# exp(-REACH) is 0 in float64 too, also at a temperature of 5, and no logit in use is as far from others of its variable
REACH = 5e3
# where masked classes are put below the largest: relaxed values are 0 there at any temperature up to 100
DEPTH = 1e5
# where baselines see them: far enough to be told apart, and near enough to leave other inputs their weight
_SHOWN = 10.0


def at_least_float32(values: Tensor) -> Tensor:
    """The values in float32 where their dtype has less; gradients flow back in the dtype that they had."""
    return values if values.dtype.itemsize >= 4 else values.float()


def bounded_bits(logits: Tensor) -> tuple[Tensor, bool]:
    """Logits of bits kept within ±REACH, without gradient there, and whether any may be: ``(*batch, units)``."""
    seen = _extremes(logits)
    if seen is not None and seen[0] > -REACH and seen[1] < REACH:
        return logits, False
    return F.hardtanh(logits, -REACH, REACH), True


def bounded_classes(logits: Tensor) -> tuple[Tensor, bool]:
    """Logits of classes ``(*batch, units, classes)``, masked ones finite and without gradient, and whether any may be.

    Raises:
        ValueError: all classes of a variable are masked, and nothing forbids to look at the numbers.
    """
    seen = _extremes(logits)
    if logits.numel() == 0 or (seen is not None and seen[0] > seen[1] - REACH):
        return logits, False
    top = _top(logits)
    if seen is not None and not transformed():
        _refuse_empty(top)
    return torch.where(logits <= top - REACH, top - DEPTH, logits), True


def refuse_unusable(name: str, logits: Tensor) -> None:
    """Looks for logits that define no distribution, on every device.

    They may also come from a training that diverges, where whoever trains has to notice: so no node looks for them.

    Args:
        name: of the node, for the message.
        logits: as a node holds them.

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
    return torch.where(free_bits(logits), logits, _SHOWN * logits.sign())


def shown_classes(logits: Tensor) -> Tensor:
    """Logits as baselines see them: masked classes at a moderate distance from the largest."""
    return torch.where(free_classes(logits), logits, _top(logits) - _SHOWN)


def _top(logits: Tensor) -> Tensor:
    return logits.detach().amax(-1, keepdim=True)


def _refuse_empty(logits: Tensor) -> None:
    if bool(logits.isneginf().any()):
        raise ValueError(
            "every variable needs a class that is not masked; got one whose logits are all -inf: leave such variables "
            "out of the node, or allow them one class"
        )


def _extremes(logits: Tensor) -> tuple[float, float] | None:
    """The least and the largest logit, NaN if any is; None where a look would cost more than what it may save.

    On a CPU it is a hundredth of a step. On a GPU the host would have to wait for the device.
    """
    if logits.device.type != "cpu" or logits.numel() == 0 or torch.compiler.is_compiling():
        return None
    low, high = torch.aminmax(_plain(logits))
    return low.item(), high.item()


def _plain(values: Tensor) -> Tensor:
    """The tensor without the wrappers of ``torch.func``'s transforms, with the dimensions that ``vmap`` hides."""
    values = values.detach()
    while torch._C._functorch.is_functorch_wrapped_tensor(values):  # noqa: SLF001  (torch has no public way to ask)
        values = torch._C._functorch.get_unwrapped(values)  # noqa: SLF001
    return values.detach()
