"""Fuzzing: plugins, stores, suites and command lines made at random; no command may end in a traceback.

Every command runs in a temporary folder, in a process of its own with limits of time, memory, file size and number of
processes: ``python -m scripts.fuzz --seed 0 --seconds 60``.
"""
