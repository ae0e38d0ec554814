"""Random numbers of minibatches that are drawn on the CPU and moved to a GPU for many steps at once."""

import pytest
import torch

from estbench.core.noise import NORMAL, UNIFORM
from estbench.engine.training import random_tape
from estbench.engine.training.random_tape import MOVED_AT_ONCE, Place, Tape
from tests.support.pretended_gpu import CUDA, pretended

CPU = torch.device("cpu")
# of the first the CPU draws 256 steps at once, of the second 5, of the third one
PLACES = [
    Place(UNIFORM, (5,), torch.float32),
    Place(NORMAL, (30, 100), torch.float32),
    Place(UNIFORM, (200, 100), torch.float32),
]


def numbers(device, steps):
    """What three replicas get at each place of these steps."""
    tape = Tape([1, 2, 3], device, source=CPU)
    tape.places = PLACES
    return [values.cpu() for step in steps for values in tape.laid_out(step)]


@pytest.mark.parametrize("at_once", [0, 2**20, MOVED_AT_ONCE])
def test_numbers_do_not_depend_on_how_many_are_moved_at_once(at_once, monkeypatch):
    """Moved step by step, in small blocks or in large ones, they are the CPU's, whatever the order of the steps."""
    steps = (0, 1, 4, 5, 3, 26, 300)
    expected = numbers(CPU, steps)
    monkeypatch.setattr(random_tape, "MOVED_AT_ONCE", at_once)
    with pretended(monkeypatch):
        found = numbers(CUDA, steps)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("replicas", "steps"), [(1, 256), (64, 6), (200, 2)])
def test_a_block_that_is_moved_has_at_most_128_mib(replicas, steps, monkeypatch):
    """Views of 100 MNIST digits are moved for as many steps as fit into 128 MiB, and for 256 at most."""
    blocks = []
    monkeypatch.setattr(random_tape, "_fill_side_by_side", lambda tracks, *_: blocks.append(tracks))
    view = Place(UNIFORM, (100, 784), torch.float32)
    with pretended(monkeypatch):
        tape = Tape(range(replicas), CUDA, source=CPU)
        tape.places = [view]
        for step in range(steps):
            tape.laid_out(step)
    assert [block.nbytes for block in blocks] == [replicas * steps * 100 * 784 * 4]
    assert blocks[0].nbytes <= 128 * 2**20
