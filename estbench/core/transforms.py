"""Transforms of ``torch.func``: whether one is active."""

import torch


def transformed() -> bool:
    """Whether this runs under ``torch.func.vmap`` or ``grad``."""
    return torch._C._are_functorch_transforms_active()  # noqa: SLF001  (torch has no public way to ask)
