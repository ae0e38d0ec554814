"""One-hot vectors."""

import torch
from torch import Tensor

from estbench.core.noise import rand


def one_hot(index: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    """One-hot vectors, ``(*index.shape, classes)``; unlike ``F.one_hot`` it runs under vmap."""
    return (index[..., None] == torch.arange(classes, device=index.device)).to(dtype)


def draw_in_proportion(masses: Tensor) -> Tensor:
    """One-hot vectors with probabilities in proportion to masses, ``(*batch, classes)``; never a class of mass 0."""
    return chosen_in_proportion(masses, rand(masses.shape[:-1], masses))


def chosen_in_proportion(masses: Tensor, u: Tensor) -> Tensor:
    """One-hot vectors of the classes in which uniform numbers ``(*batch)`` in [0, 1) fall; never a class of mass 0.

    By rounding, a cumulative sum that is computed in parallel may grow at a class of mass 0; such classes are ignored.
    """
    reached = torch.where(masses > 0, masses.cumsum(-1), 0)
    # u is below 1, so this is below the largest sum even after rounding
    threshold = u[..., None] * reached.amax(-1, keepdim=True)
    # argmax returns the first
    index = (reached > threshold).to(masses.dtype).argmax(-1)
    return one_hot(index, masses.shape[-1], masses.dtype)
