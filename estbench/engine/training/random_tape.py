"""Random tapes: random numbers for replicas that are trained together, the same that each has when trained alone.

The numbers of a replica depend only on its own seed, the step, and the position within the step, not on the other
replicas. A single training run reads the same kind of tape, with one track.
"""

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor

from estbench.core.noise import NORMAL, UNIFORM, Law, NoiseSource

# how many numbers a replica draws at once for a position in the step: few launches, but not more than fits into a cache
AT_ONCE = {"cpu": 2**14, "cuda": 2**18}
STEPS_AT_ONCE = 256
# how many bytes of a position's numbers are kept on a device to which they are moved, for all replicas
MOVED_AT_ONCE = 2**27


class CannotTogetherError(RuntimeError):
    """These replicas cannot be trained together; the message says why."""


class Place(NamedTuple):
    """The distribution and shape of the numbers drawn at one position in a step."""

    law: Law
    shape: tuple[int, ...]
    dtype: torch.dtype


class Tape(NoiseSource):
    """Random numbers of replicas.

    Args:
        streams: a seed for each replica.
        device: the device of the numbers.
        ahead: whether to draw for several steps at once.
        source: the device that draws the numbers; by default ``device``.

    Attributes:
        places: the draws of a step, as far as they are known.
        replica: inside a function vmapped over replicas, the index of the current one, ``(1,)``; None for a single one.
        generator: the generator that fills the tape.
        strangers: names of called functions whose random numbers the tape does not provide.
    """

    def __init__(
        self, streams: Sequence[int], device: torch.device, *, ahead: bool = True, source: torch.device | None = None
    ) -> None:
        self._streams, self._device, self._source = streams, device, source or device
        self._at_once = AT_ONCE[self._source.type] if ahead else 0
        self.generator = torch.Generator(self._source)
        self._blocks: dict[int, tuple[tuple[Place, int], Tensor]] = {}
        self._shown: list[Tensor] | None = None
        self.places: list[Place] = []
        self.replica: Tensor | None = None
        self.strangers: set[str] = set()
        self._step = self._position = 0

    def begin(self, step: int) -> None:
        """Moves to the beginning of a step."""
        self._step, self._position, self._shown = step, 0, None

    def laid_out(self, step: int) -> list[Tensor]:
        """The numbers of a step at its known positions, each ``(replicas, *shape)``."""
        self._step = step
        return [self._at(number, place) for number, place in enumerate(self.places)]

    def show(self, values: Sequence[Tensor]) -> None:
        """Moves to the beginning of a step that has these values at its positions."""
        self._shown, self._position = list(values), 0

    def draw(self, law: Law, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:  # noqa: ARG002
        """The next numbers in the step, for the current replica.

        Raises:
            CannotTogetherError: a replica draws something else than the first one did.
        """
        place, number = Place(law, shape, dtype), self._position
        self._position += 1
        shown = self._shown or []
        known = number < len(shown) and self.places[number] == place
        if self.replica is not None:
            if not known:
                raise CannotTogetherError("its random numbers differ in shape or number from step to step")
            return shown[number][self.replica].squeeze(0)
        if known:
            return shown[number][0]
        self.places[number:] = [place, *self.places[number + 1 :]]
        return self._at(number, place)[0]

    def _at(self, number: int, place: Place) -> Tensor:
        ahead = max(1, min(STEPS_AT_ONCE, self._at_once // max(1, math.prod(place.shape))))
        block, offset = divmod(self._step, ahead)
        if self._source != self._device:
            return self._moved(number, place, ahead)
        if ahead == 1:
            return self._drawn(number, block, place, 1)[:, 0]
        if number not in self._blocks or self._blocks[number][0] != (place, block):
            self._blocks[number] = (place, block), self._drawn(number, block, place, ahead)
        return self._blocks[number][1][:, offset]

    def _drawn(self, number: int, block: int, place: Place, ahead: int) -> Tensor:
        drawn = torch.empty((len(self._streams), ahead, *place.shape), dtype=place.dtype, device=self._source)
        for track, stream in zip(drawn, self._streams, strict=True):
            _fill(track, place.law, self.generator.manual_seed(mixed(stream, number, block)))
        return drawn

    def _moved(self, number: int, place: Place, ahead: int) -> Tensor:
        """The same numbers as on the source, moved for as many steps at once as the device's memory is to hold."""
        each = len(self._streams) * ahead * math.prod(place.shape) * place.dtype.itemsize
        blocks = max(1, min(STEPS_AT_ONCE // ahead, MOVED_AT_ONCE // max(1, each)))
        part, offset = divmod(self._step, blocks * ahead)
        if number not in self._blocks or self._blocks[number][0] != (place, part):
            # the numbers of earlier steps are freed before the new ones are made
            self._blocks.pop(number, None)
            # with pinned memory, the host does not wait for the copy to a GPU
            shape = (len(self._streams), blocks, ahead, *place.shape)
            drawn = torch.empty(shape, dtype=place.dtype, device=self._source, pin_memory=True)
            seeds = [mixed(stream, number, part * blocks + k) for stream in self._streams for k in range(blocks)]
            _fill_side_by_side(drawn.flatten(0, 1), place.law, seeds)
            self._blocks[number] = (place, part), drawn.to(self._device, non_blocking=True).flatten(1, 2)
        return self._blocks[number][1][:, offset]


def _fill(values: Tensor, law: Law, generator: torch.Generator) -> None:
    if law == UNIFORM:
        values.uniform_(generator=generator)
    elif law == NORMAL:
        values.normal_(generator=generator)
    elif law.name == "gamma":
        concentration = torch.full_like(values, law.concentration)
        values.copy_(torch._standard_gamma(concentration, generator=generator))  # noqa: SLF001  (the only one with a generator)
    else:
        values.random_(law.low, law.high, generator=generator)


def _fill_side_by_side(tracks: Tensor, law: Law, seeds: Sequence[int]) -> None:
    """Fills tracks in parallel on all cores, so that a GPU does not wait for a single core."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda track, seed: _fill(track, law, torch.Generator().manual_seed(seed)), tracks, seeds))


def mixed(seed: int, *numbers: int) -> int:
    """A seed from a seed and numbers, mixed so that every input bit affects every output bit (SplitMix64).

    Reference: Steele, Lea & Flood (2014), https://doi.org/10.1145/2660193.2660195
    """
    mask = 2**64 - 1
    for number in (0, *numbers):
        seed = (seed + (number + 1) * 0x9E3779B97F4A7C15) & mask
        seed = (seed ^ seed >> 30) * 0xBF58476D1CE4E5B9 & mask
        seed = (seed ^ seed >> 27) * 0x94D049BB133111EB & mask
        seed ^= seed >> 31
    return seed >> 1
