"""The content of a report as data: rows, estimates, tests and comparisons with published results."""
