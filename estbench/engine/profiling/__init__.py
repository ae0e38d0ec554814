"""Time, memory and counts of operations."""
