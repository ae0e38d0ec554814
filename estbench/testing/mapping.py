"""Whether ``torch.func.vmap`` can draw an estimator's replicates."""

import torch

from estbench.engine.model_state import ModelState
from estbench.runtime import shared_generators
from estbench.testing.programs import Estimate
from estbench.testing.replicates import NotFiniteError, one_gradient, replicates
from estbench.testing.verdict import one_line

SEED, FEW = 6, 64


def obstacle(bench: Estimate) -> str:
    """The reason why it cannot draw them; empty if it can. The random streams are not restored afterwards."""
    try:
        torch.manual_seed(SEED)
        next(replicates(bench, FEW))
        torch.manual_seed(SEED)
        value, gradient = next(replicates(bench, 1))
    except NotFiniteError:
        # another check reports that
        return ""
    except Exception as error:  # noqa: BLE001  (a plugin may raise anything; what is no fault of vmap shows elsewhere)
        return f"torch.func.vmap cannot map it: it {one_line(error)}"
    before = shared_generators.state()
    with ModelState(bench.estimator).held():
        torch.manual_seed(SEED)
        scalar, gradients = one_gradient(bench)
    if shared_generators.state() != before:
        return "it draws random numbers by NumPy or Python, which are the same for all that torch.func.vmap maps over"
    alone = torch.cat([scalar[None], *(g.flatten() for name, g in gradients.items() if name.startswith("model."))])
    mapped = torch.cat([value, gradient[0]])
    largest = float(alone.abs().max())
    if float((alone - mapped).abs().max()) > 1e-9 * (largest if largest > 0 else 1):
        return "with one seed, torch.func.vmap changes its estimate"
    return ""
