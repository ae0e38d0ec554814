"""Training: the objective against steps and seconds.

Evaluation always takes hard samples, whatever an estimator trains with.
"""

import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from estbench.estimator import Estimator
from estbench.measure._minibatches import Minibatches
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
        steps: training steps; more of them go on from where fewer ended.
        evaluations: how often the objective is evaluated along the way, evenly spaced.
        samples: size of the multi-sample bound of an ELBO or NLL on the test images at the end; 0 leaves it out. On
            the validation images, where it only serves to choose, it is at most 100.
        examples: evaluate the training objective on that many examples.
        pictures: test examples in the pictures that a task makes at the end, if it makes any; 0 for none.
    """

    repeated = True
    tuned = True
    budgets = ("steps",)

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
            for row in self._train(bench, _Training(bench, maker().to(bench.device), key)):
                yield key, row

    def _train(self, bench: Bench, training: "_Training") -> Iterator[Row]:
        grid = [round(self.steps * k / self.evaluations) for k in range(self.evaluations + 1)]
        earlier = bench.journal.furthest("step", self.steps)
        if earlier:
            training.load(earlier)
        for stop in grid:
            if stop >= training.step and stop not in training.evaluated:
                training.advance(stop)
                training.rows += self._evaluate(bench, training.model, stop, training.seconds)
        bench.journal.keep(training.state(), done=True)
        # a shorter run evaluated more densely: what a single long run would not have is left out, unless it is
        # all there is
        fits = training.evaluated.issuperset(grid)
        yield from (row for row in training.rows if row.step in grid or not fits)
        yield from self._bounds(bench, training.model, training.seconds)
        yield from self._pictures(bench, training.model, training.step, training.seconds)

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
                # parameters may be lost while the sampled cost that is trained on still looks like one
                if not costs.isfinite().all():
                    raise MeasurementError(f"{objective}_{split} is {costs.mean().item()} after {step} training steps")
                rows.append(_objective_row(objective, f"{objective}_{split}", costs, step, seconds))
                for name, values in _metrics(bench, model, data).items():
                    rows.append(_row(f"{name}_{split}", values, "", step, seconds))
        return rows

    def _bounds(self, bench: Bench, model: nn.Module, seconds: float) -> Iterator[Row]:
        """The multi-sample bound at the end of training."""
        objective, splits = bench.task.objective, bench.splits()
        if not self.samples or objective == "loss":
            return
        sizes = {"valid": min(self.samples, VALIDATION_SAMPLES), "test": self.samples}
        model.eval()
        with bench.aside("bound", self.steps):
            for split, data in (("valid", splits.valid), ("test", splits.test)):
                bound = _in_chunks(model, data, sizes[split])
                metric = f"{bound_name(objective)}{sizes[split]}_{split}"
                yield _objective_row(objective, metric, bound, self.steps, seconds)

    def _costs(self, bench: Bench, model: nn.Module, data: Batch) -> Tensor:
        """The cost of each example: exact where the task knows it, else at one hard sample."""
        with torch.no_grad():
            exact = bench.task.closed_form(model, data)
            return run(exact, mean)[0] if exact else _in_chunks(model, data, 1)


class _Training:
    """A training run at some step, which can be kept and gone on with.

    Args:
        bench: where it takes place.
        estimator: what trains.
        key: the estimator's name.
    """

    def __init__(self, bench: Bench, estimator: Estimator, key: str) -> None:
        self._bench, self._estimator = bench, estimator
        self.model = bench.model()
        self._minibatches = Minibatches(bench)
        bench.sow("prepare")
        estimator.prepare(self.model(*next(bench.minibatches(bench.splits().train))))
        self._trainer = bench.task.trainer(self.model, estimator)
        bench.sow("training", key, bench.cell)
        self.step, self.seconds = 0, 0.0
        self.rows: list[Row] = []

    @property
    def evaluated(self) -> set[int]:
        """The steps at which it was evaluated."""
        return {row.step for row in self.rows}

    def advance(self, stop: int) -> None:
        """Trains to a step, leaving its state in the journal now and then.

        Raises:
            MeasurementError: the objective is no longer finite.
        """
        loss, start = torch.zeros(()), time.perf_counter()
        while self.step < stop:
            self._trainer.zero_grad()
            loss = self._estimator(self.model(*next(self._minibatches)))
            loss.backward()
            self._trainer.step()
            self.step += 1
            if self._bench.journal.due():
                self.seconds += time.perf_counter() - start
                self._check(loss)
                self._bench.journal.keep(self.state())
                start = time.perf_counter()
        self.seconds += time.perf_counter() - start
        self._check(loss)

    def _check(self, loss: Tensor) -> None:
        if not math.isfinite(loss.item()):
            raise MeasurementError(f"the objective is {loss.item()} after {self.step} training steps")

    def state(self) -> dict[str, Any]:
        """All that the numbers to come depend on, and those so far."""
        on_cuda = self._bench.device.type == "cuda"
        return {
            "step": self.step,
            "seconds": self.seconds,
            "rows": [vars(row) for row in self.rows],
            "model": self.model.state_dict(),
            "estimator": self._estimator.state_dict(),
            "trainer": self._trainer.state_dict(),
            "minibatches": self._minibatches.state(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(self._bench.device) if on_cuda else None,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state."""
        self.step, self.seconds = state["step"], state["seconds"]
        self.rows = [Row(**row) for row in state["rows"]]
        self.model.load_state_dict(state["model"])
        self._estimator.load_state_dict(state["estimator"])
        self._trainer.load_state_dict(state["trainer"])
        self._minibatches.load(state["minibatches"])
        torch.set_rng_state(state["random"])
        if state["random_cuda"] is not None:
            torch.cuda.set_rng_state(state["random_cuda"], self._bench.device)


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
