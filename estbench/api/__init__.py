"""The Python interface: the commands as functions with typed results and without output."""
