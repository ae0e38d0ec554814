"""Command lines and suites made at random: an answer or one line, never a traceback."""

import random

import pytest

from tests.cli.test_wrong_commands import LONG, assert_one_line, outcome

# commands that measure nothing; a command line is made of these words
COMMANDS = ("list estimators", "info", "cache list", "cache verify", "export", "report", "published", "plot", "new")
PLAN = "plan --tasks toy --estimators rloo --measures training[steps=2]"
OPTIONS = "--store --seeds --device --scale --precision --parts --format --to --target --width --out --paper -e"
VALUES = (
    *("", " ", "0", "-1", "nan", "inf", "-inf", "1e999", "9" * 30, "x", "é", "\x1b[31m", "\u202e", "\udcff", "a,b"),
    *(",", "[]", "rloo[", "rloo", "toy[units=3]", "rloo[samples=2,3]", "rloo[samples='", "quick", "/dev/null", LONG),
    *("/proc/self/mem", "--", "-", "%s", "{}", "$x", "a=b", "=", "[b]", "training[steps=2]"),
)
KEYS = ("tasks", "measures", "seeds", "device", "dtype", "scale", "precision", "tune", "parts", "fraction", "odd")
SCALARS = ("true", "1", "-1", "1e400", "nan", "inf", "'x'", "9223372036854775808", '"\\u001b"', "1979-05-27", "'toy'")


def _command(draw):
    words = draw.choice((*COMMANDS, PLAN, PLAN)).split()
    for _ in range(draw.randrange(5)):
        words += [draw.choice(OPTIONS.split())] if draw.random() < 0.6 else []
        words.append(draw.choice(VALUES))
    return words


@pytest.mark.parametrize("seed", range(4))
def test_random_commands(seed, tmp_path, monkeypatch):
    """A command line made at random is answered, or refused with exit code 2 and one line."""
    monkeypatch.chdir(tmp_path)
    draw = random.Random(seed)
    for _ in range(20):
        arguments = _command(draw)
        code, out, err = outcome(arguments)
        assert code in (0, 1, 2), (arguments, err)
        assert "\x1b[31m" not in out + err, arguments
        if code == 2:
            assert_one_line(arguments, code, out, err)


def _value(draw, depth=0):
    if depth > 2 or draw.random() < 0.5:
        return draw.choice(SCALARS)
    inner = [_value(draw, depth + 1) for _ in range(draw.randrange(3))]
    if draw.random() < 0.5:
        return f"[{', '.join(inner)}]"
    return f"{{{', '.join(f'{key} = {value}' for key, value in zip(draw.sample(KEYS, 2), inner, strict=False))}}}"


@pytest.mark.parametrize("seed", range(4))
def test_random_suites(seed, tmp_path, monkeypatch):
    """A suite made at random is planned, or refused in one line."""
    monkeypatch.chdir(tmp_path)
    draw = random.Random(seed)
    for _ in range(10):
        lines = [f"{key} = {_value(draw)}" for key in draw.sample(KEYS, draw.randrange(4))]
        (tmp_path / "suite.toml").write_text("\n".join(lines))
        arguments = ["plan", "suite.toml", "--tasks", "toy", "--estimators", "rloo", "--measures", "training[steps=2]"]
        code, out, err = outcome(arguments)
        assert code in (0, 2), (lines, err)
        if code == 2:
            assert_one_line(lines, code, out, err)
