"""Abstract charts, from which several kinds of figures derive."""
