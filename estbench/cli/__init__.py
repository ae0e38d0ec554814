"""The command line: reads arguments, calls workflows, and prints."""
