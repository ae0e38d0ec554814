"""The kinds of figures, one a file."""
