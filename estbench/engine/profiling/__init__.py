"""Profiling: time, memory and counts of operations."""
