"""The asv suite: speed and statistical quality of every estimator on every task of the manifest."""
