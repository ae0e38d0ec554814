"""Training runs, alone or many in one batched program."""
