"""Plugins: from the text of a specification to a class and its options."""
