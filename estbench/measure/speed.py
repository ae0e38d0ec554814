"""Speed: time of one gradient and of one training step, and peak memory.

Estimators are timed in blocks, one after another in random order, so that whatever else the machine does
meets all of them alike; ratios to the baseline are taken block by block.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from estbench.estimator import Estimator
from estbench.measure.base import Bench, Maker, Measure, Row, verdict
from estbench.stats import Floats, median_interval

BASELINE = "the task's baseline"


class Speed(Measure):
    """Seconds per gradient and per training step.

    Args:
        blocks: rounds over all estimators.
        seconds: shortest time for which each estimator runs in a block.
    """

    joint = True

    def __init__(self, blocks: int = 20, seconds: float = 0.02) -> None:
        if blocks < 6:
            raise ValueError(f"an interval for a median needs at least 6 blocks; got {blocks}")
        self.blocks, self.seconds = blocks, seconds

    def rows(self, bench: Bench, makers: Mapping[str, Maker]) -> Iterator[tuple[str, Row]]:
        runners: dict[str, _Runner] = {}
        for key, maker in {**makers, BASELINE: bench.baseline}.items():
            try:
                runners[key] = _Runner.start(bench, maker())
            except Exception as error:  # noqa: BLE001  (one estimator's failure must not cost the others)
                yield key, verdict(error)
        times = {
            "gradient_time": self._times(bench, {key: runner.gradient for key, runner in runners.items()}),
            "step_time": self._times(bench, {key: runner.step for key, runner in runners.items()}),
        }
        for key in runners.keys() - {BASELINE}:
            for metric, measured in times.items():
                for row in _rows(metric, measured[key], measured[BASELINE]):
                    yield key, row
            peak = float(runners[key].peak_memory(bench.device))
            yield key, Row("peak_memory", peak, peak, peak, "B", 1)

    def _times(self, bench: Bench, actions: Mapping[str, Callable[[], None]]) -> dict[str, Floats]:
        """Seconds per call, ``(blocks,)`` for each action."""
        repeats = {}
        for key, action in actions.items():
            once = min(_clock(action, 1, bench.device) for _ in range(3))
            repeats[key] = max(1, round(self.seconds / once))
        order = np.random.default_rng(bench.seed)
        found: dict[str, list[float]] = {key: [] for key in actions}
        for _ in range(self.blocks):
            for key in order.permutation(list(actions)):
                found[key].append(_clock(actions[key], repeats[key], bench.device))
        return {key: np.array(values) for key, values in found.items()}


@dataclass
class _Runner:
    """An estimator ready to be timed on one minibatch."""

    clear: Callable[[], None]
    gradient: Callable[[], None]
    step: Callable[[], None]

    @classmethod
    def start(cls, bench: Bench, estimator: Estimator) -> "_Runner":
        model = bench.model()
        batch = next(bench.minibatches(bench.splits().train))
        estimator.to(bench.device).prepare(model(*batch))
        trainer = bench.task.trainer(model, estimator)

        def gradient() -> None:
            trainer.zero_grad()
            estimator(model(*batch)).backward()

        def step() -> None:
            gradient()
            trainer.step()

        step()
        return cls(trainer.zero_grad, gradient, step)

    def peak_memory(self, device: torch.device) -> int:
        """Bytes that one gradient has allocated at its peak, above what was there before."""
        self.clear()
        if device.type == "cuda":
            before = torch.cuda.memory_allocated(device)
            torch.cuda.reset_peak_memory_stats(device)
            self.gradient()
            return torch.cuda.max_memory_allocated(device) - before
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as profiler:
            self.gradient()
        events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
        held = np.cumsum([e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())])
        return int(max(held.max(initial=0), 0))


def _clock(action: Callable[[], None], repeats: int, device: torch.device) -> float:
    """Seconds per call."""
    _finish(device)
    start = time.perf_counter()
    for _ in range(repeats):
        action()
    _finish(device)
    return (time.perf_counter() - start) / repeats


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _rows(metric: str, seconds: Floats, baseline: Floats) -> Iterator[Row]:
    blocks = len(seconds)
    yield Row(metric, *median_interval(seconds), unit="s", n=blocks)
    for name, q in (("q25", 0.25), ("q75", 0.75)):
        yield Row(f"{metric}_{name}", float(np.quantile(seconds, q)), unit="s", n=blocks)
    yield Row(f"{metric}_ratio", *median_interval(seconds / baseline), n=blocks)
