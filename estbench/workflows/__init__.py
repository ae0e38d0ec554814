"""Workflows: what each command does, without parsing and printing."""
