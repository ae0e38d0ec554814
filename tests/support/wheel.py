"""The wheel of this checkout, built in a copy of it."""

import shutil
import subprocess
import sys

from tests.support import ROOT

SOURCES = ("pyproject.toml", "README.md", "LICENSE", "estbench", "estimators", "tasks")
OFFLINE = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")


def built(folder):
    """The path of the wheel, which is put into a folder."""
    clone = folder / "clone"
    clone.mkdir()
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, clone / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", *OFFLINE, "-w", str(folder), str(clone)]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel
