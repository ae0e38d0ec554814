"""TensorFlow Probability on JAX: monte_carlo.expectation, its relaxed distributions."""

from functools import partial

from harness import Audited, main
from tensorflow_probability.substrates import jax as tfp

from estbench import bridges

D = tfp.distributions


def expectation(cost, logits, key, **options):
    q = D.Independent(D.OneHotCategorical(logits=logits, dtype=logits.dtype), 1)
    z = q.sample(2, seed=key)
    return tfp.monte_carlo.expectation(cost, z, log_prob=q.log_prob, **options).mean()


def relaxed(logits, key, temperature):
    return D.RelaxedOneHotCategorical(temperature, logits=logits).sample(seed=key)


def relaxed_bits(logits, key, temperature):
    return D.RelaxedBernoulli(temperature, logits=logits).sample(seed=key)


def of_loss(name, declared, own="", **options):
    return Audited(name, partial(bridges.jax, expectation, surrogate=True, **options), declared, own)


def of_sample(name, function, **options):
    own = "gumbel_softmax[temperature=0.7]"
    return Audited(name, partial(bridges.jax, function, temperature=0.7, **options), "biased", own)


main(
    "tfp-nightly",
    [
        of_loss(
            "monte_carlo.expectation(use_reparameterization=False)",
            "unbiased",
            "reinforce",
            use_reparameterization=False,
        ),
        of_loss("monte_carlo.expectation at its default", "in part"),
        of_sample("RelaxedOneHotCategorical(.7).sample", relaxed),
        of_sample("RelaxedBernoulli(.7).sample", relaxed_bits, event_dim=0),
    ],
)
