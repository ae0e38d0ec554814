"""The machinery of measures: gradient moments, training runs, and profiling."""
