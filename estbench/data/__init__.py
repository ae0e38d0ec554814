"""Data sets, and the sources of their files."""
