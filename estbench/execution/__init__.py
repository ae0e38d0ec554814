"""Execution: runs cells in processes, on Ray or on Slurm, and keeps their results."""
