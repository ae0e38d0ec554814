"""Abstract charts: what several kinds share."""
