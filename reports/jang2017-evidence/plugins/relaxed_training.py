"""Training, with the bound at relaxed samples beside that at hard ones.

The bounds at the end take the sampled divergence, whatever the task trains with: an average of likelihoods with the
analytic one is no bound.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from estbench.measure.base import Bench, Row
from estbench.measure.training import Training
from estbench.node import Node
from estbench.program import Sites, repeat, run

IMAGES_AT_ONCE = 2


class RelaxedTraining(Training):
    """Trains as ``training`` does, and evaluates at relaxed samples too.

    Args:
        steps: training steps.
        evaluations: how often the objective is evaluated along the way.
        samples: size of the multi-sample bounds.
        relaxed: test images for the bounds at the end.
        temperature: of the relaxed samples.
    """

    def __init__(
        self,
        steps: int = 1000,
        evaluations: int = 10,
        samples: int = 100,
        relaxed: int = 1000,
        temperature: float = 0.5,
    ) -> None:
        super().__init__(steps, evaluations, samples, pictures=0)
        self.relaxed, self.temperature = relaxed, temperature

    def _bounds(self, bench: Bench, model: nn.Module, seconds: float) -> Iterator[Row]:
        model.analytic = False
        images = bench.splits().test[0][: self.relaxed]

        def soft(_name: str, node: Node, _sites: Sites) -> Tensor:
            return node.soften(node.noise(), self.temperature)

        def hard(_name: str, node: Node, _sites: Sites) -> Tensor:
            return node.sample()

        for name, sampler in (("relaxed", soft), ("hard", hard)):
            with bench.aside(name, self.steps), torch.no_grad():
                costs = [run(model(x), repeat(sampler, self.samples))[0] for x in images.split(IMAGES_AT_ONCE)]
            for samples, values in ((1, [-c[0] for c in costs]), (self.samples, [_bound(c) for c in costs])):
                yield _row(f"{name}_bound{samples}_test", torch.cat(values), self.steps, seconds)


def _bound(costs: Tensor) -> Tensor:
    return (-costs).logsumexp(0) - math.log(len(costs))


def _row(metric: str, values: Tensor, step: int, seconds: float) -> Row:
    values = values.double()
    value, error = values.mean().item(), values.std().item() / len(values) ** 0.5
    return Row(metric, value, value - 1.96 * error, value + 1.96 * error, "nats", len(values), step, seconds)
