"""The plane of relative bias and variance."""

from estbench.report.charts.shared.plane import ARROWS, Plane
from estbench.report.model.quantities import VARIANCE


class BiasVariance(Plane):
    """Relative bias against variance."""

    title = "Bias and variance"
    caption = f"Relative bias against variance, with 95 % intervals; lower left is best. {ARROWS}"
    position = 20
    across = VARIANCE
    front = False
