"""Training runs, one at a time or many as one batch."""
