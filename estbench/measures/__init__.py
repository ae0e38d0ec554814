"""Measures: plugins that measure estimators on a task, one per file."""
