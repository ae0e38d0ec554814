"""pyro: its ELBOs, with a discrete guide.

The model's prior is the guide without a derivative, so that the mean gradient is that of the expected cost.
"""

from functools import partial

import pyro
import pyro.distributions as dist
from harness import Audited, main
from pyro.infer import Trace_ELBO, TraceGraph_ELBO

from estbench import bridges


def surrogate(cost, logits, make):
    """The gradient that an ELBO leaves in the guide's parameter."""
    pyro.clear_param_store()
    rows = logits.shape[:-2].numel()
    start = logits.detach().reshape(rows, *logits.shape[-2:])

    def guide():
        own = pyro.param("logits", start.clone())
        with pyro.plate("rows", rows):
            pyro.sample("z", dist.OneHotCategorical(logits=own).to_event(1))

    def model():
        with pyro.plate("rows", rows):
            z = pyro.sample("z", dist.OneHotCategorical(logits=start).to_event(1))
            pyro.factor("cost", -cost(z.reshape(*z.shape[:-3], *logits.shape)).reshape(*z.shape[:-2]))

    make().loss_and_grads(model, guide)
    gradient = pyro.get_param_store().get_param("logits").grad
    gradient = start.new_zeros(start.shape) if gradient is None else gradient
    return (gradient.reshape(logits.shape) * logits).sum() / rows


def of(name, make, own="reinforce", declared="unbiased"):
    return Audited(name, partial(bridges.surrogate, surrogate, make=make, detached=True), declared, own)


main(
    "pyro-ppl",
    [
        of("Trace_ELBO", Trace_ELBO),
        of("TraceGraph_ELBO", TraceGraph_ELBO),
    ],
)
