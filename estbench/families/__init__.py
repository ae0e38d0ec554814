"""Families: abstract estimators that implement ``forward``; a plugin implements the hooks of one of them."""
