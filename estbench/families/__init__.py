"""Families: abstract estimators that own ``forward``; a plugin fills in their hooks."""
