"""Merges stores of several machines."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from estbench.errors import UserError
from estbench.store.files import make_folder, read_whole, write_atomically
from estbench.store.records import Result
from estbench.store.store import Store


@dataclass(frozen=True)
class Joined:
    """The outcome of merging stores.

    Args:
        taken: number of cells that were added.
        known: number of cells that existed already.
    """

    taken: int
    known: int


def merge(folders: Sequence[Path], into: Path, *, mixed_timing: bool = False) -> Joined:
    """Takes the cells of several stores into one, with their checkpoints.

    If both stores have a result for a cell, the existing one is kept, unless it failed and the other did not.

    Args:
        folders: the stores.
        into: the store that receives the cells; it is made if it does not exist.
        mixed_timing: whether times from different environments may be merged.

    Raises:
        UserError: a store is not there, or timings would be mixed.
    """
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"there is no store in {folder}")
    target, sources = Store(into), [Store(folder) for folder in folders]
    there = _results(target)
    offered = [(path, result) for store in sources for path, result in _results(store).items()]
    if not mixed_timing:
        _refuse_mixtures([*there.values(), *(result for _, result in offered)])
    make_folder(target.cells)
    best = {path.name: result for path, result in there.items()}
    taken = 0
    for path, result in offered:
        other = best.get(path.name)
        if other is None or (other.failures and not result.failures):
            write_atomically(target.cells / path.name, read_whole(path))
            best[path.name] = result
            taken += 1
    _states(sources, target)
    return Joined(taken, len(offered) - taken)


def _results(store: Store) -> dict[Path, Result]:
    return {path: result for path in store.files() if (result := store.load(path)) is not None}


def _states(sources: Sequence[Store], target: Store) -> None:
    for store in sources:
        for path in store.states():
            place = target.checkpoints / path.parent.name / path.name
            if place.exists():
                continue
            try:
                content = read_whole(path)
            except OSError as error:
                store.say(f"cannot read {path}: {error.strerror or error}")
                continue
            make_folder(place.parent)
            write_atomically(place, content)


def _refuse_mixtures(results: Sequence[Result]) -> None:
    """Raises if times come from different environments."""
    machines: dict[str, Mapping[str, Any]] = {}
    for result in results:
        machine = result.about["machine"]
        if result.about["cell"]["alone"] and machine is not None:
            machines.setdefault(json.dumps(machine, sort_keys=True), machine)
    if len(machines) < 2:
        return
    first, second, *_ = machines.values()
    apart = [f"{name}: {first[name]} and {second.get(name)}" for name in first if first[name] != second.get(name)]
    raise UserError(
        f"times in these stores come from {len(machines)} different environments ({'; '.join(apart)}), and times of "
        "different environments are no comparison; --mixed-timing joins them all the same"
    )
