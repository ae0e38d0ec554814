"""Stores that are damaged at random: every command serves what is sound, and says the rest in lines."""

import os
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from scripts.fuzz.outcome import Outcome, outcome

COMPARE = (
    "compare --tasks toy[units=2] --estimators rloo,arm --measures training[steps=4] --seeds 2 --executor inline "
    "--device cpu --store store"
)
COMMANDS = (
    "cache list --store store", "cache verify --store store", "cache prune --failed --days 1 --store store",
    "cache prune --checkpoints --store store", "merge store --into other", "merge store run --into other",
    "export store --to exported --format csv,parquet,json,latex", "export run --to exported", "diff store run",
    "diff run run2", "report run --out again", "plot training run --out plots", f"{COMPARE} --out new", COMPARE,
)  # fmt: skip


def _flip(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(draw.choice((1, 1, 1, 8, 64))):
        if content:
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def _cut(path: Path, draw: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: draw.randrange(len(content) + 1)])


def _fill(path: Path, draw: random.Random) -> None:
    path.write_bytes(draw.choice((b"", b"text", b"[]", b"{}", b"null", b"PAR1" * 9, b"\xff\xfe", draw.randbytes(99))))


def _replaced(make: Callable[[Path], object]) -> Callable[[Path, random.Random], None]:
    def change(path: Path, draw: random.Random) -> None:  # noqa: ARG001
        path.unlink()
        make(path)

    return change


def _twin(path: Path, draw: random.Random) -> None:
    names = (f"{path.stem}.v4.parquet", f"{path.stem}.v99.parquet", "x" * 200, "\x1b[31m", "=1+1.parquet", ".writing-1")
    shutil.copy(path, path.parent / draw.choice((*names, path.name.replace("a", "b"))))


CHANGES: Mapping[str, Callable[[Path, random.Random], None]] = {
    "flipped": _flip,
    "cut": _cut,
    "filled": _fill,
    "gone": _replaced(lambda _: None),
    "folder": _replaced(Path.mkdir),
    "full folder": _replaced(lambda path: (path / "inner").mkdir(parents=True)),
    "dangling link": _replaced(lambda path: path.symlink_to("nowhere")),
    "looping link": _replaced(lambda path: path.symlink_to(path.name)),
    "link to a folder": _replaced(lambda path: path.symlink_to("..")),
    "link to a device": _replaced(lambda path: path.symlink_to("/dev/full")),
    "pipe": _replaced(os.mkfifo),
    "twin": _twin,
}


def made(folder: Path) -> Outcome:
    """A store and two folders of runs, soundly."""
    for name in ("run", "run2"):
        found = outcome([*COMPARE.split(), "--out", name], folder)
    return found


def damaged(folder: Path, draw: random.Random) -> str:
    """Changes one or two files of a store or a run at random; returns how."""
    said = []
    for _ in range(draw.choice((1, 1, 2))):
        there = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
        # what commands read, or else anything
        read = [path for path in there if path.suffix in (".parquet", ".pt", ".json")]
        paths = read if draw.random() < 0.85 else there
        path, how = draw.choice(paths), draw.choice(list(CHANGES))
        said.append(f"{how} {path.relative_to(folder)}")
        CHANGES[how](path, draw)
    return ", ".join(said)
