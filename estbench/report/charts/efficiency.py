"""The plane of relative bias and variance per second of work."""

from estbench.report.charts.shared.plane import ARROWS, Plane
from estbench.report.model.quantities import WORK


class Efficiency(Plane):
    """Relative bias against variance times the time of one gradient."""

    title = "Bias and variance × time"
    caption = (
        "Relative bias against variance times the seconds of one gradient, with 95 % intervals. The line connects the "
        f"estimators that no other one surpasses in both (the Pareto front). {ARROWS}"
    )
    position = 60
    across = WORK
    front = True
