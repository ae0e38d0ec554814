"""Measures: what is asked of an estimator on a task, one a file."""
