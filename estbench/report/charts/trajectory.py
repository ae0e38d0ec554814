"""Variance at the points of one training run, common to all estimators."""

from estbench.report.charts.shared.along import IN_COLOUR, VARIANCE_AT, Along


class Trajectory(Along):
    """Variance at the points of the common run."""

    title = "Variance along training"
    caption = f"{VARIANCE_AT} with the task's baseline estimator, the same parameters for all. {IN_COLOUR}"
    position = 30
    own = False
