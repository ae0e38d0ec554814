"""Norm: the length of one gradient estimate. A measure as a user writes one, for the tests of all that shows it."""

from collections.abc import Iterator, Mapping

import torch

from estbench import Bench, MakeEstimator, Measure, Metric, Row


class Norm(Measure):
    """The mean length of a gradient estimate.

    Args:
        scale: what all lengths are multiplied by.
    """

    metrics = (
        Metric("norm/{part}", "Gradient norm, {part}", "nats", "lower", log=True, about="Mean length of a gradient."),
        Metric("agreement", "Agreement", better="higher", interval="seeds"),
    )
    repeated = True

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def rows(self, bench: Bench, makers: Mapping[str, MakeEstimator]) -> Iterator[tuple[str, Row]]:
        """Two declared metrics, and one that is not."""
        for key, make in makers.items():
            model, batch = bench.model(), next(bench.minibatches())
            estimator = make().prepare(model(*batch))
            bench.sow("norm", key)
            lengths = torch.tensor([self._length(estimator, model, batch) for _ in range(16)]) * self.scale
            mean, margin = float(lengths.mean()), float(lengths.std()) / 2
            yield key, Row("norm/all", mean, mean - margin, mean + margin, n=16)
            yield key, Row("agreement", 1 / (1 + mean))
            yield key, Row("surprise", mean)

    def _length(self, estimator, model, batch) -> float:
        model.zero_grad()
        estimator(model(*batch)).backward()
        return sum(float(each.grad.square().sum()) for each in model.parameters()) ** 0.5
