"""The measure ``speed``: time of a gradient, of a training step and its parts, memory, and counts of operations.

Estimators are timed in blocks, in random order within a block, so that other load of the machine affects all of them
equally; ratios to the baseline are computed block by block.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Mapping

import numpy as np
import torch

from estbench.core.estimator import Estimator
from estbench.engine.base import Bench, MakeEstimator, Measure, Row, verdict
from estbench.engine.journal import NoJournal
from estbench.engine.profiling.allocated_memory import allocated_peak
from estbench.engine.profiling.counting import Evaluations, flops
from estbench.engine.profiling.resident_memory import resident_peak
from estbench.engine.profiling.timing import StepParts, clock, seconds
from estbench.measures.metrics.speed import METRICS
from estbench.runtime.device import check_answers
from estbench.runtime.guard import pass_on
from estbench.stats import Floats, Interval, median_interval

BASELINE = "the task's baseline"
PARTS = ("forward_time", "backward_time", "optimizer_time")


class Speed(Measure):
    """Seconds per gradient and per training step, memory, and counts of operations of one gradient.

    Args:
        blocks: number of rounds over all estimators.
        seconds: least time for which each estimator runs in a block, and is warmed up before.
        resident: whether to measure resident memory too, in a new process per estimator, which takes seconds to start.
    """

    metrics = METRICS
    joint = True

    def __init__(self, blocks: int = 20, seconds: float = 0.02, *, resident: bool = False) -> None:
        if blocks < 6:
            raise ValueError(f"an interval for a median needs at least 6 blocks; got {blocks}")
        self.blocks, self.seconds, self.resident = blocks, seconds, resident

    def rows(self, bench: Bench, makers: Mapping[str, MakeEstimator]) -> Iterator[tuple[str, Row]]:
        lost: dict[str, Row] = {}
        runners: dict[str, _Runner] = {}
        for key, maker in {**makers, BASELINE: bench.baseline}.items():
            with _excused(bench, key, lost):
                runners[key] = _Runner(bench, maker())
        clocks: list[float] = []
        gradients = self._times(bench, {key: runner.gradient for key, runner in runners.items()}, clocks, lost)
        going = {key: runner.step for key, runner in runners.items() if key not in lost}
        steps = self._times(bench, going, clocks, lost)
        rate = Interval(float(np.median(clocks)), min(clocks), max(clocks))
        times = {
            key: [*_split(gradients[key], "gradient_time", ()), *_split(steps[key], "step_time", PARTS)]
            for key in going.keys() - lost.keys()
        }
        for key in times.keys() - {BASELINE}:
            found = [row for each in _pairs(times, key) for row in _rows(*each, lost.get(BASELINE))]
            with _excused(bench, key, lost):
                found += [Row("clock", *rate, unit="Hz", n=len(clocks)), *runners[key].counts()]
                found += [_resident(bench, makers[key])] if self.resident else []
            if key not in lost:
                yield from ((key, row) for row in found)
        yield from ((key, row) for key, row in lost.items() if key != BASELINE)

    def _times(
        self, bench: Bench, actions: Mapping[str, StepParts], clocks: list[float], lost: dict[str, Row]
    ) -> dict[str, Floats]:
        """Seconds per call of each part, ``(blocks, parts)`` for each action; reads the clock rate once per block.

        An estimator that fails is not timed any further, and its failure is added to ``lost``.
        """
        calls: dict[str, int] = {}
        for key, action in actions.items():
            with _excused(bench, key, lost):
                calls[key] = max(1, round(self.seconds / self._warm(bench, action)))
        order = np.random.default_rng(bench.seed)
        found: dict[str, list[Floats]] = {key: [] for key in calls}
        for _ in range(self.blocks):
            for key in order.permutation([key for key in calls if key not in lost]):
                with _excused(bench, key, lost):
                    found[key].append(seconds(actions[key], calls[key], bench.device))
            clocks.append(clock(bench.device))
        return {key: np.stack(values) for key, values in found.items() if key not in lost}

    def _warm(self, bench: Bench, action: StepParts) -> float:
        """Calls a function at least three times, and for as long as a block; returns the shortest call's seconds."""
        found: list[float] = []
        while len(found) < 3 or sum(found) < self.seconds:
            found.append(float(seconds(action, 1, bench.device).sum()))
        return min(found)


@contextlib.contextmanager
def _excused(bench: Bench, key: str, lost: dict[str, Row]) -> Iterator[None]:
    """Notes the failure of one estimator, which must not cost the others."""
    try:
        yield
    except BaseException as error:  # noqa: BLE001  (a plugin may raise anything)
        pass_on(error)
        check_answers(bench.device, error)
        lost[key] = verdict(error)


class _Runner:
    """An estimator ready to be timed on one minibatch."""

    def __init__(self, bench: Bench, estimator: Estimator) -> None:
        self._model, self._estimator, self._device = bench.model(), estimator.to(bench.device), bench.device
        self._batch = next(bench.minibatches())
        estimator.prepare(self._model(*self._batch))
        self._trainer = bench.task.trainer(self._model, estimator)
        self.gradient: StepParts = (self._forward, self._backward, self._trainer.zero_grad)
        self.step: StepParts = (self._forward, self._backward, self._update)
        for part in self.step:
            part()

    def _forward(self) -> None:
        self._loss = self._estimator(self._model(*self._batch))

    def _backward(self) -> None:
        self._loss.backward()

    def _update(self) -> None:
        self._trainer.step()
        self._trainer.zero_grad()

    def _once(self) -> None:
        self._forward()
        self._backward()

    def counts(self) -> Iterator[Row]:
        """The counted metrics of one gradient: memory, operations, evaluations of the cost; the number of threads."""
        evaluations = Evaluations()
        self._estimator(evaluations.of(self._model(*self._batch)))
        yield _count("evaluations", evaluations.made)
        self._trainer.zero_grad()
        yield _count("flops", flops(self._once))
        self._trainer.zero_grad()
        yield _count("peak_memory", allocated_peak(self._once, self._device), "B")
        yield _count("threads", torch.get_num_threads())


def _split(times: Floats, total: str, parts: tuple[str, ...]) -> list[tuple[str, Floats]]:
    """The total seconds of all parts, and the seconds of the parts that have a name."""
    return [(total, times.sum(1)), *zip(parts, times.T, strict=False)]


def _pairs(times: Mapping[str, list[tuple[str, Floats]]], key: str) -> Iterator[tuple[str, Floats, Floats | None]]:
    """Each time of an estimator by its metric, with that of the baseline; None where that has failed."""
    units = dict(times.get(BASELINE, ()))
    for metric, measured in times[key]:
        yield metric, measured, units.get(metric)


def _rows(metric: str, measured: Floats, baseline: Floats | None, failure: Row | None) -> Iterator[Row]:
    blocks = len(measured)
    yield Row(metric, *median_interval(measured), unit="s", n=blocks)
    for name, q in (("q25", 0.25), ("q75", 0.75)):
        yield Row(f"{metric}_{name}", float(np.quantile(measured, q)), unit="s", n=blocks)
    if baseline is not None:
        yield Row(f"{metric}_ratio", *median_interval(measured / baseline), n=blocks)
    else:
        why = f"{BASELINE} has no time: {failure.error}" if failure else f"{BASELINE} has no time"
        yield Row(f"{metric}_ratio", status="failed", error=why)


def _count(metric: str, count: float, unit: str = "") -> Row:
    return Row(metric, *Interval(*[float(count)] * 3), unit=unit, n=1)


def _resident(bench: Bench, maker: MakeEstimator) -> Row:
    make_bench = bench.recipe or functools.partial(_itself, dataclasses.replace(bench, memory={}, journal=NoJournal()))
    try:
        return _count("peak_resident", resident_peak(make_bench, maker), "B")
    except BaseException as error:  # noqa: BLE001  (a plugin may raise anything)
        pass_on(error)
        return verdict(error)


def _itself(bench: Bench) -> Bench:
    return bench
