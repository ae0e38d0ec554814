"""From cells to results."""
