"""Runs inputs made at random for some seconds, and prints those that go wrong."""

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from scripts.fuzz import commands, plugins, runs, stores
from scripts.fuzz.outcome import warm


def plugin(folder: Path, draw: random.Random) -> tuple[str, list[str]]:
    """A comparison with a plugin at fault."""
    faulty, executor = plugins.drawn(draw, "faulty"), runs.drawn(draw)
    found, wrong = runs.compare(faulty, executor, folder)
    return f"{executor} {faulty.label}: {runs.shown(found, folder)}", wrong


def store(folder: Path, draw: random.Random) -> tuple[str, list[str]]:
    """A command on a damaged store."""
    shutil.copytree(folder.parent / "sound", folder, dirs_exist_ok=True)
    how, command = stores.damaged(folder, draw), draw.choice(stores.COMMANDS)
    found = stores.outcome(command.split(), folder)
    return f"{command}: {how}: {found.code} {found.err[-200:]!r}", found.wrong


def command(folder: Path, draw: random.Random) -> tuple[str, list[str]]:
    """A command line and a suite."""
    words = commands.drawn(folder, draw)
    found = stores.outcome(words, folder)
    return f"{words}: {found.code} {found.err[-200:]!r}", found.wrong


KINDS: dict[str, Callable[[Path, random.Random], tuple[str, list[str]]]] = {
    "plugin": plugin,
    "store": store,
    "command": command,
}


def fuzz(seed: int, seconds: float, inputs: int, kinds: list[str], verbose: bool = False) -> list[str]:
    """What went wrong, in lines; each input follows from the seed and its number alone.

    Args:
        seed: the seed.
        seconds: after which no further input is begun.
        inputs: how many there are at most.
        kinds: of inputs.
        verbose: whether to print every input.
    """
    warm()
    # no TemporaryDirectory, which every fork would remove at its end
    place = Path(tempfile.mkdtemp())
    try:
        found, counts = _tried(place, seed, time.monotonic() + seconds, range(inputs), kinds, verbose)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    print(f"seed {seed}: {counts}, {len(found)} wrong")  # noqa: T201
    return found


def _tried(
    place: Path, seed: int, until: float, inputs: range, kinds: list[str], verbose: bool
) -> tuple[list[str], dict[str, int]]:
    found, counts = list[str](), dict.fromkeys(kinds, 0)
    (place / "sound").mkdir()
    if "store" in kinds:
        stores.made(place / "sound")
    for number in inputs:
        if time.monotonic() > until:
            break
        draw = random.Random(f"{seed} {number}")  # noqa: S311  (no secret)
        kind = kinds[number % len(kinds)]
        (folder := place / "input").mkdir()
        said, wrong = KINDS[kind](folder, draw)
        counts[kind] += 1
        found += [f"{number} {said}: {'; '.join(wrong)}"] if wrong else []
        if wrong or verbose:
            print("WRONG" if wrong else "     ", number, said, *wrong, flush=True)  # noqa: T201
        shutil.rmtree(folder)
    return found, counts


def _main() -> int:
    parser = argparse.ArgumentParser(prog="scripts.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--inputs", type=int, default=10**6)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--verbose", action="store_true")
    given = parser.parse_args()
    return int(bool(fuzz(given.seed, given.seconds, given.inputs, given.kinds.split(","), given.verbose)))


if __name__ == "__main__":
    sys.exit(_main())
