"""The kinds of figures, one a file, found by looking into this folder."""
