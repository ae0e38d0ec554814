"""numpyro: the losses of its ELBOs, with a discrete guide; the prior is the guide without a derivative, as for pyro."""

from functools import partial

import jax
import numpyro
import numpyro.distributions as dist
from harness import Audited, main
from numpyro.infer import Trace_ELBO, TraceGraph_ELBO

from estbench import bridges


def surrogate(cost, logits, key, make):
    rows = logits[..., 0, 0].size
    start = logits.reshape(rows, *logits.shape[-2:])
    fixed = jax.lax.stop_gradient(start)

    def guide():
        own = numpyro.param("logits", fixed)
        with numpyro.plate("rows", rows):
            numpyro.sample("z", dist.Categorical(logits=own).to_event(1), infer={"is_auxiliary": False})

    def model():
        with numpyro.plate("rows", rows):
            z = numpyro.sample("z", dist.Categorical(logits=fixed).to_event(1))
            hot = jax.nn.one_hot(z, logits.shape[-1])
            numpyro.factor("cost", -cost(hot.reshape(logits.shape)).reshape(rows))

    return make().loss(key, {"logits": start}, model, guide) / rows


def of(name, make, declared, own="reinforce"):
    bridge = partial(bridges.jax, surrogate, surrogate=True, make=make)
    return Audited(name, bridge, declared, own, calls=60)


main(
    "numpyro", [of("TraceGraph_ELBO.loss", TraceGraph_ELBO, "unbiased"), of("Trace_ELBO.loss", Trace_ELBO, "not said")]
)
