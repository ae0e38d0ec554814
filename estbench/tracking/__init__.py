"""Tracking: results of comparisons as asv's history, and a gate between two of them."""
