"""Results: one table of rows, whatever was measured."""

COLUMNS = (
    "task",
    "estimator",
    "params",
    "seed",
    "device",
    "dtype",
    "measure",
    "metric",
    "step",
    "seconds",
    "value",
    "low",
    "high",
    "unit",
    "n",
    "status",
    "error",
)
