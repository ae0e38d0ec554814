"""The metrics of the measure ``speed``; reports/performance.md says how each is measured."""

from functools import partial

from estbench.core.metrics import Metric

_lower = partial(Metric, better="lower", log=True, told=False, tracked=False)
_asked = partial(_lower, show="asked")
_rows = partial(_lower, show="none")

METRICS = (
    _lower("step_time", "Time per step", "s", tracked=True, about="Median time of one training step."),
    _lower("step_time_ratio", "Step, ratio", tracked=True,
           about="Time of a step over that of the task's baseline estimator."),
    _asked("gradient_time", "Time per gradient", "s", tracked=True, about="Median time of one gradient."),
    _asked("forward_time", "Forward", "s", about="Median time of the forward pass of a training step."),
    _asked("backward_time", "Backward", "s", about="Median time of the backward pass of a training step."),
    _asked("optimizer_time", "Optimiser", "s", about="Median time of the optimiser in a training step."),
    _lower("peak_memory", "Peak memory", "B", tracked=True, about="Most memory in use at once."),
    _asked("peak_resident", "Resident memory", "B",
           about="Most resident memory that one gradient adds to a fresh process."),
    _asked("flops", "Operations", "FLOP",
           about="Floating-point operations of matrix products and convolutions in one gradient."),
    _asked("threads", "Threads", better=None, log=False, about="Threads of torch while times were taken."),
    # least and most of the blocks, which are no interval
    _asked("clock", "Clock rate", "Hz", better=None, log=False, interval="none",
           about="Of the processor or GPU while times were taken: median over blocks."),
    _rows("gradient_time_ratio", "Gradient, ratio", tracked=True),
    _rows("{part}_ratio"),
    _rows("{part}_q25", unit="s"),
    _rows("{part}_q75", unit="s"),
    _rows("evaluations", "Evaluations"),
)  # fmt: skip
