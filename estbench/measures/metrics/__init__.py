"""The metrics of the built-in measures, apart from the measures: a report reads them and imports no torch."""

from estbench.core.metrics import Metrics
from estbench.measures.metrics import gradient, speed, training

# for results of versions that did not keep the declarations with the results
BUILT_IN = Metrics({"gradient": gradient.METRICS, "speed": speed.METRICS, "training": training.METRICS})
