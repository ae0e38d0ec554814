"""vector-quantize-pytorch: the samples of its stochastic codes."""

from functools import partial

from harness import Audited, main
from vector_quantize_pytorch.vector_quantize_pytorch import gumbel_sample

from estbench import bridges


def sample(logits, **options):
    return gumbel_sample(logits, dim=-1, training=True, stochastic=True, **options)[1]


def of(name, own="", **options):
    return Audited(name, partial(bridges.pathwise, sample, **options), "biased", own)


main(
    "vector-quantize-pytorch",
    [
        of(
            "gumbel_sample(temperature=1, straight_through)", "straight_through", straight_through=True, temperature=1.0
        ),
        of("gumbel_sample(temperature=.7, straight_through)", straight_through=True, temperature=0.7),
    ],
)
