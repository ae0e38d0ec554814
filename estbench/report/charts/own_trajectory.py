"""Variance at the points of each estimator's own training run."""

from estbench.report.charts.shared.along import IN_COLOUR, VARIANCE_AT, Along


class OwnTrajectory(Along):
    """Variance at the points of each estimator's own run."""

    title = "Variance along each estimator's own training"
    caption = f"{VARIANCE_AT} with the estimator itself, so each curve is at different parameters. {IN_COLOUR}"
    position = 40
    own = True
