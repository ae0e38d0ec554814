"""Nodes, programs, estimators and tasks: the interfaces that plugins are written against. Depends on torch only."""
