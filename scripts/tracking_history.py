"""The history that ``prove_tracking.py`` looks at: a clone with ten commits, four of which change something."""

# ruff: noqa: INP001, S603, S607  (part of a script, which runs git)

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

SLOW = """

import time as _time


def _slowly(self, program, _forward=RLOO.forward):
    start = _time.process_time()
    loss = _forward(self, program)
    end = _time.process_time()
    end += FACTOR * (end - start)
    while _time.process_time() < end:
        pass
    return loss


RLOO.forward = _slowly
"""
FORGOTTEN = ("/ 2 * (value - opposite)", "/ 2**0.5 * (value - opposite)")
BIASED = ("* (noise[0].sigmoid() - 0.5)", "* (noise[0].sigmoid() - 0.5) + 0.00025  # of 0.005")


@dataclass(frozen=True)
class Injection:
    """The change of an estimator that a commit makes.

    Args:
        estimator: the estimator's name.
        tracked: the benchmark that must show the change.
    """

    estimator: str
    tracked: str


EXPECTED = {
    3: Injection("rloo", "Cost.track_relative_time"),
    5: Injection("disarm", "Quality.track_variance"),
    7: Injection("arm", "Quality.track_error"),
}
PLUGIN_AT = 4
COMMITS = 10


def git(clone: Path, *arguments: str) -> str:
    """Runs git in the clone as an author of its own."""
    who = ["-c", "user.name=proof", "-c", "user.email=proof@localhost", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(clone), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def make_clone(clone: Path) -> None:
    """A clone with the working tree's files, whose own code is what runs in it."""
    subprocess.run(["git", "clone", "--quiet", "--no-local", str(ROOT), str(clone)], check=True, capture_output=True)
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "-co", "--exclude-standard"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, clone / name)
        else:
            (clone / name).unlink(missing_ok=True)
    # an installed package maps these folders; here the links do
    for folder in ("estimators", "tasks"):
        (clone / "estbench" / folder).symlink_to(Path("..") / folder)
    with (clone / ".git" / "info" / "exclude").open("a") as file:
        file.write("/estbench/estimators\n/estbench/tasks\n/.asv/\n")


def replace(path: Path, change: tuple[str, str]) -> None:
    """Replaces a piece of code that must be there once."""
    text = path.read_text()
    if text.count(change[0]) != 1:
        raise SystemExit(f"{path} does not hold {change[0]!r} once: the proof must be brought up to date")
    path.write_text(text.replace(*change))


def add_plugin(clone: Path) -> None:
    """A new estimator between others in the alphabet; its name goes to the manifest's end."""
    text = (ROOT / "estimators" / "reinforce.py").read_text()
    (clone / "estimators" / "lemon.py").write_text(text.replace("class Reinforce(", "class Lemon("))
    manifest = clone / "benchmarks" / "manifest.py"
    manifest.write_text(
        re.sub(r"(ESTIMATORS = \(.*?)\n\)", r'\1\n    "lemon",\n)', manifest.read_text(), flags=re.DOTALL)
    )


def make_history(clone: Path, factor: float) -> list[str]:
    """Ten commits, most of which change nothing; returns their names, oldest first."""
    estimators = clone / "estimators"
    changes: dict[int, Callable[[], object]] = {
        3: lambda: (estimators / "rloo.py").open("a").write(SLOW.replace("FACTOR", f"{factor:.3f}")),
        5: lambda: replace(estimators / "disarm.py", FORGOTTEN),
        7: lambda: replace(estimators / "arm.py", BIASED),
        PLUGIN_AT: lambda: add_plugin(clone),
    }
    commits = []
    git(clone, "checkout", "--quiet", "-B", "proof")
    for number in range(COMMITS):
        (clone / "NUMBER").write_text(f"{number}\n")
        changes.get(number, lambda: None)()
        git(clone, "add", "--all")
        # asv orders commits by date
        date = f"2026-01-{number + 1:02d}T12:00:00Z"
        os.environ["GIT_COMMITTER_DATE"] = os.environ["GIT_AUTHOR_DATE"] = date
        git(clone, "commit", "--quiet", "--message", f"commit {number}")
        commits.append(git(clone, "rev-parse", "HEAD"))
    return commits
