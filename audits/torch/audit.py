"""torch: F.gumbel_softmax, and what torch.distributions offers for gradients of discrete samples."""

import torch
from harness import Audited, main
from torch import distributions
from torch.nn.functional import gumbel_softmax

from estbench import bridges


def relaxed(logits, temperature):
    return distributions.RelaxedOneHotCategorical(torch.tensor(temperature), logits=logits).rsample()


def relaxed_bits(logits, temperature):
    return distributions.RelaxedBernoulli(torch.tensor(temperature), logits=logits).rsample()


def straight_through(logits):
    return distributions.OneHotCategoricalStraightThrough(logits=logits).rsample()


def score(cost, logits, kind):
    q = kind(logits=logits)
    z = q.sample()
    found = cost(z)
    return (found.detach() * q.log_prob(z).sum(-1) + found).mean()


def of_sample(function, **options):
    return lambda: bridges.pathwise(function, **options)


def of_loss(function, **options):
    return lambda: bridges.surrogate(function, **options)


main(
    "torch",
    [
        Audited(
            "F.gumbel_softmax(tau=.7)", of_sample(gumbel_softmax, tau=0.7), "biased", "gumbel_softmax[temperature=0.7]"
        ),
        Audited(
            "F.gumbel_softmax(tau=.7, hard=True)",
            of_sample(gumbel_softmax, tau=0.7, hard=True),
            "biased",
            "st_gumbel_softmax[temperature=0.7]",
        ),
        Audited(
            "RelaxedOneHotCategorical(.7).rsample",
            of_sample(relaxed, temperature=0.7),
            "biased",
            "gumbel_softmax[temperature=0.7]",
        ),
        Audited(
            "RelaxedBernoulli(.7).rsample",
            of_sample(relaxed_bits, temperature=0.7, event_dim=0),
            "biased",
            "gumbel_softmax[temperature=0.7]",
        ),
        Audited("OneHotCategoricalStraightThrough.rsample", of_sample(straight_through), "biased", "straight_through"),
        Audited(
            "OneHotCategorical.log_prob (score)",
            of_loss(score, kind=distributions.OneHotCategorical),
            "unbiased",
            "reinforce",
        ),
        Audited(
            "Bernoulli.log_prob (score)",
            of_loss(score, kind=distributions.Bernoulli, event_dim=0),
            "unbiased",
            "reinforce",
        ),
    ],
)
