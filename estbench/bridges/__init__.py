"""Bridges: any library's estimator on the bench, in a few lines.

    import torch.nn.functional as F
    from estbench import bridges, check

    check(bridges.pathwise(F.gumbel_softmax, tau=0.5, hard=True))

``pathwise`` takes a function from logits to a differentiable sample, ``surrogate`` a function from a cost and logits to
a loss, and ``jax`` either of them in JAX. docs/how-to/bridges.md says what each function must do.
"""

from estbench.bridges.losses import surrogate
from estbench.bridges.samples import pathwise
from estbench.bridges.through_jax import jax

__all__ = ["jax", "pathwise", "surrogate"]
