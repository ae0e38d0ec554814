"""The kinds of figures, one per file; every file of this folder is found."""
