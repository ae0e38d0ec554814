"""The machine and process of a run: device, precision, memory, process state and environment."""
