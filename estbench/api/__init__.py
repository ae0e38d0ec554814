"""estbench from Python: the commands as functions, with typed results and no output."""
