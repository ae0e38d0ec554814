"""Command lines and suites made at random."""

import random
from pathlib import Path

COMMANDS = (
    "list estimators", "list", "info rloo", "cache list", "cache verify", "cache prune", "export", "report",
    "published", "plot", "new estimator", "new", "diff", "merge", "env", "doctor", "track", "gate", "data list",
    "check rloo", "check", "plan quick",
)  # fmt: skip
MEASURED = "--tasks toy --estimators rloo --measures training[steps=2]"
OPTIONS = (
    "--store --seeds --device --dtype --scale --precision --parts --format --to --target --width --out --paper -e "
    "--into --days --alpha --timeout --threads --workers --ensemble --checkpoint --executor --suite --json --all -h"
)
VALUES = (
    "", " ", "0", "-1", "nan", "inf", "-inf", "1e999", "9" * 30, "x", "é", "\x1b[31m", "\u202e", "\udcff", "a,b", "1",
    ",", "[]", "rloo[", "rloo", "toy[units=3]", "rloo[samples=2,3]", "rloo[samples='", "quick", "/dev/null", "a" * 300,
    "/proc/self/mem", "--", "-", "%s", "{}", "$x", "a=b", "=", "[b]", "training[steps=2]", "suite.toml", ".", "..",
    "/dev/full", "folder", "auto", "inline", "cpu", "float64", "1,2", "0.5", "loss_valid=nan", "loss_valid=0.1",
)  # fmt: skip
KEYS = ("tasks", "measures", "seeds", "device", "dtype", "scale", "precision", "tune", "parts", "fraction", "odd")
SCALARS = ("true", "1", "-1", "1e400", "nan", "inf", "'x'", "9223372036854775808", '"\\u001b"', "1979-05-27", "'toy'")


def drawn(folder: Path, draw: random.Random) -> list[str]:
    """The words of a command, for a folder in which there is a suite of random keys and values."""
    lines = [f"{key} = {_value(draw)}" for key in draw.sample(KEYS, draw.randrange(4))]
    (folder / "suite.toml").write_text("\n".join(lines), encoding="utf-8")
    (folder / "folder").mkdir()
    if draw.random() < 0.5:
        words = [draw.choice(("plan", "plan", "compare")), "suite.toml", *MEASURED.split(), "--executor", "inline"]
    else:
        words = draw.choice(COMMANDS).split()
    for _ in range(draw.randrange(4)):
        words += [draw.choice(OPTIONS.split())] if draw.random() < 0.6 else []
        words.append(draw.choice(VALUES))
    return words


def _value(draw: random.Random, depth: int = 0) -> str:
    if depth > 2 or draw.random() < 0.5:
        return draw.choice(SCALARS)
    inner = [_value(draw, depth + 1) for _ in range(draw.randrange(3))]
    if draw.random() < 0.5:
        return f"[{', '.join(inner)}]"
    return f"{{{', '.join(f'{key} = {value}' for key, value in zip(draw.sample(KEYS, 2), inner, strict=False))}}}"
