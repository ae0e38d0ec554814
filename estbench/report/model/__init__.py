"""What a report says, as data: rows, estimates, tests and comparisons with published results."""
