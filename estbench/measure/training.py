"""Training: the objective against steps and seconds.

Evaluation always takes hard samples, whatever an estimator trains with.
"""

import math
import time
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from estbench.estimator import Estimator
from estbench.measure._png import png
from estbench.measure.base import Bench, Maker, Measure, MeasurementError, Row
from estbench.program import draw, mean, repeat, run
from estbench.stats import Interval
from estbench.task import Batch

ROWS_AT_ONCE = 2**11
VALIDATION_SAMPLES = 100


class Training(Measure):
    """Trains a model from the same start on the same minibatches with each estimator.

    Args:
        steps: training steps.
        evaluations: how often the objective is evaluated along the way, evenly spaced.
        samples: size of the multi-sample bound of an ELBO or NLL on the test images at the end; 0 leaves it out. On
            the validation images, where it only serves to choose, it is at most 100.
        examples: evaluate the training objective on that many examples.
        pictures: test examples in the pictures that a task makes at the end, if it makes any; 0 for none.
    """

    repeated = True
    tuned = True

    def __init__(
        self, steps: int = 1000, evaluations: int = 10, samples: int = 100, examples: int = 1000, pictures: int = 8
    ) -> None:
        if steps < 1 or evaluations < 1 or samples < 0 or examples < 1 or pictures < 0:
            raise ValueError(
                f"training needs at least 1 step, evaluation and example; got {steps=}, {evaluations=}, "
                f"{samples=}, {examples=}, {pictures=}"
            )
        self.steps, self.evaluations = steps, min(evaluations, steps)
        self.samples, self.examples, self.pictures = samples, examples, pictures

    def rows(self, bench: Bench, makers: Mapping[str, Maker]) -> Iterator[tuple[str, Row]]:
        for key, maker in makers.items():
            for row in self._train(bench, maker().to(bench.device)):
                yield key, row

    def _train(self, bench: Bench, estimator: Estimator) -> Iterator[Row]:
        model, splits = bench.model(), bench.splits()
        minibatches = bench.minibatches(splits.train)
        bench.sow("prepare")
        estimator.prepare(model(*next(bench.minibatches(splits.train))))
        trainer = bench.task.trainer(model, estimator)
        bench.sow("training", str(type(estimator)))
        step, seconds = 0, 0.0
        yield from self._evaluate(bench, model, step, seconds)
        for stop in (round(self.steps * (k + 1) / self.evaluations) for k in range(self.evaluations)):
            start = time.perf_counter()
            for _ in range(step, stop):
                trainer.zero_grad()
                loss = estimator(model(*next(minibatches)))
                loss.backward()
                trainer.step()
            seconds += time.perf_counter() - start
            step = stop
            if not math.isfinite(loss.item()):
                raise MeasurementError(f"the objective is {loss.item()} after {step} training steps")
            yield from self._evaluate(bench, model, step, seconds)
        yield from self._pictures(bench, model, step, seconds)

    def _pictures(self, bench: Bench, model: nn.Module, step: int, seconds: float) -> Iterator[Row]:
        if not self.pictures:
            return
        batch = tuple(x[: self.pictures] for x in bench.splits().test)
        with bench.aside("pictures"), torch.no_grad():
            pictures = bench.task.pictures(model, batch)
        for title, images in pictures.items():
            yield Row(f"picture/{title}", n=len(batch[0]), step=step, seconds=seconds, picture=png(images))

    def _evaluate(self, bench: Bench, model: nn.Module, step: int, seconds: float) -> list[Row]:
        objective, splits, rows = bench.task.objective, bench.splits(), []
        with bench.aside("evaluation", step):
            few = bench.task.view(tuple(x[: self.examples] for x in splits.train), bench.generator("view"))
            named: dict[str, Batch] = {"train": few, "valid": splits.valid, "test": splits.test}
            for split, data in named.items():
                costs = self._costs(bench, model, data)
                rows.append(_objective_row(objective, f"{objective}_{split}", costs, step, seconds))
                for name, values in _metrics(bench, model, data).items():
                    rows.append(_row(f"{name}_{split}", values, "", step, seconds))
                samples = min(self.samples, VALIDATION_SAMPLES) if split == "valid" else self.samples
                if samples and step == self.steps and split != "train" and objective != "loss":
                    bound, name = _in_chunks(model, data, samples), bound_name(objective)
                    rows.append(_objective_row(objective, f"{name}{samples}_{split}", bound, step, seconds))
        return rows

    def _costs(self, bench: Bench, model: nn.Module, data: Batch) -> Tensor:
        """The cost of each example: exact where the task knows it, else at one hard sample."""
        with torch.no_grad():
            exact = bench.task.closed_form(model, data)
            return run(exact, mean)[0] if exact else _in_chunks(model, data, 1)


def bound_name(objective: str) -> str:
    """What the multi-sample bound of an objective is called in results, before its number of samples."""
    return "bound" if objective == "elbo" else objective


def _in_chunks(model: nn.Module, data: Batch, samples: int) -> Tensor:
    """The negative multi-sample bound of each example; with one sample, its cost."""
    with torch.no_grad():
        parts = []
        for chunk in _chunks(data, max(1, ROWS_AT_ONCE // samples)):
            cost, _ = run(model(*chunk), repeat(draw, samples))
            parts.append(math.log(samples) - (-cost).logsumexp(0))
    return torch.cat(parts)


def _metrics(bench: Bench, model: nn.Module, data: Batch) -> dict[str, Tensor]:
    """What the task tells of each example beside its cost."""
    with torch.no_grad():
        parts = [bench.task.metrics(model, chunk) for chunk in _chunks(data, ROWS_AT_ONCE)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _chunks(data: Batch, size: int) -> Iterator[Batch]:
    for start in range(0, len(data[0]), size):
        yield tuple(x[start : start + size] for x in data)


def _objective_row(objective: str, metric: str, costs: Tensor, step: int, seconds: float) -> Row:
    values = -costs if objective == "elbo" else costs
    return _row(metric, values, "" if objective == "loss" else "nats", step, seconds)


def _row(metric: str, values: Tensor, unit: str, step: int, seconds: float) -> Row:
    values = values.double()
    error = values.std().item() / len(values) ** 0.5 if len(values) > 1 else math.nan
    value = values.mean().item()
    interval = Interval(value, value - 1.96 * error, value + 1.96 * error)
    return Row(metric, *interval, unit=unit, n=len(values), step=step, seconds=seconds)
