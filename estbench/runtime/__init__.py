"""What a run takes from its machine: device, precision, memory, process and environment."""
