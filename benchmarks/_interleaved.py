"""Ratios of times, taken block by block in one run, so that whatever else the machine does meets both sides alike."""

import time

import numpy as np


def ratios(ours, other, blocks=10, seconds=0.1, seed=0):
    """Time of ``other`` over time of ``ours``, block by block: how many times as fast ours is.

    In each block the two run one after the other, in random order, each for at least ``seconds``. Wall-clock time: how
    well the cores are used is part of what is compared.
    """
    actions = (ours, other)
    calls = [max(1, round(seconds / min(_clock(action, 1) for _ in range(2)))) for action in actions]
    order, found = np.random.default_rng(seed), []
    for _ in range(blocks):
        block = [0.0, 0.0]
        for side in order.permutation(2):
            block[side] = _clock(actions[side], calls[side])
        found.append(block[1] / block[0])
    return np.array(found)


def _clock(action, calls):
    """Seconds per call."""
    start = time.perf_counter()
    for _ in range(calls):
        action()
    return (time.perf_counter() - start) / calls
