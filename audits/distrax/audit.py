"""distrax and rlax: the score function of a distribution, its straight-through wrapper, and a policy gradient."""

from functools import partial

import distrax
import jax
import rlax
from harness import Audited, main

from estbench import bridges


def score(cost, logits, key):
    q = distrax.OneHotCategorical(logits=logits)
    z, log_q = q.sample_and_log_prob(seed=key)
    return (jax.lax.stop_gradient(cost(z)) * log_q.sum(-1)).mean()


def straight_through(logits, key):
    return (
        distrax.straight_through_wrapper(distrax.OneHotCategorical)(logits=logits).sample(seed=key).astype(logits.dtype)
    )


def gumbel_softmax(logits, key, temperature):
    noise = distrax.Gumbel(0.0, 1.0).sample(seed=key, sample_shape=logits.shape)
    return jax.nn.softmax((logits + noise) / temperature)


def policy_gradient(cost, logits, key):
    classes = jax.random.categorical(key, logits)
    costs = cost(jax.nn.one_hot(classes, logits.shape[-1]))
    advantages = -jax.numpy.broadcast_to(costs[..., None], classes.shape).ravel()
    flat = logits.reshape(-1, logits.shape[-1])
    return (
        rlax.policy_gradient_loss(flat, classes.ravel(), advantages, jax.numpy.ones_like(advantages)) * logits.shape[-2]
    )


def of_loss(name, function, own):
    return Audited(name, partial(bridges.jax, function, surrogate=True), "unbiased", own)


main(
    "distrax",
    [
        of_loss("OneHotCategorical.sample_and_log_prob (score)", score, "reinforce"),
        of_loss("rlax.policy_gradient_loss", policy_gradient, "reinforce"),
        Audited(
            "straight_through_wrapper(OneHotCategorical)",
            partial(bridges.jax, straight_through),
            "biased",
            "straight_through",
        ),
        Audited(
            "softmax of logits and Gumbel noise",
            partial(bridges.jax, gumbel_softmax, temperature=0.7),
            "biased",
            "gumbel_softmax[temperature=0.7]",
        ),
    ],
)
