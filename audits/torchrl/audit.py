"""torchrl: OneHotCategorical with its two gradient strategies."""

from functools import partial

from harness import Audited, main
from torchrl.modules.distributions import OneHotCategorical, ReparamGradientStrategy

from estbench import bridges


def sample(logits, strategy):
    return OneHotCategorical(logits=logits, grad_method=getattr(ReparamGradientStrategy, strategy)).rsample()


main(
    "torchrl",
    [
        Audited(
            "OneHotCategorical, PassThrough",
            partial(bridges.pathwise, sample, strategy="PassThrough"),
            "biased",
            "straight_through",
        ),
        Audited(
            "OneHotCategorical, RelaxedOneHot",
            partial(bridges.pathwise, sample, strategy="RelaxedOneHot"),
            "biased",
            "st_gumbel_softmax[temperature=1.0]",
        ),
    ],
)
