"""A plugin package from nothing: made, installed, tested and gated where only the wheel of this repository is."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.support import PATIENCE
from tests.support.wheel import OFFLINE, built

MEASURES = ["gradient[replicates=128,after=0]"]


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """An environment with the wheel, whose other packages are those of this one; returns a way to run its programs."""
    folder = tmp_path_factory.mktemp("outside")
    venv.create(folder / "venv", with_pip=False)
    programs = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    alone = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def run(program, *arguments, cwd=folder):
        command = [programs / program, *map(str, arguments)]
        done = subprocess.run(
            command, text=True, capture_output=True, cwd=cwd, timeout=PATIENCE, env=alone, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def install(what):
        pip = [sys.executable, "-m", "pip", "--python", str(programs / "python"), "install", "--quiet"]
        subprocess.run([*pip, *OFFLINE, str(what)], check=True, timeout=PATIENCE)

    theirs = run("python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    # lines with folders, whose own .pth files are not read: so not the checkout that is installed there
    others = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    Path(theirs, "others.pth").write_text("".join(f"{path}\n" for path in others))
    install(built(folder))
    run.install, run.folder = install, folder
    return run


@pytest.mark.long
def test_the_wheel_is_what_runs(outside):
    """The command and the module come from the wheel, not from this checkout."""
    place = outside("python", "-c", "import estbench; print(estbench.__file__)").strip()
    assert Path(place).is_relative_to(outside.folder)
    assert "rloo" in outside("estbench", "list", "estimators")


@pytest.mark.long
@pytest.mark.parametrize(("kind", "key"), [("estimator", "estimators"), ("task", "tasks"), ("measure", "measures")])
def test_a_package_is_made_installed_tested_and_gated(outside, kind, key):
    """By the commands of its README; the gate finds nothing worse in a second measurement of the same code."""
    name = f"my_{kind}"
    outside("estbench", "new", kind, name)
    package = outside.folder / f"estbench-my-{kind}"
    readme = (package / "README.md").read_text()
    assert 'pip install "estbench @ git+URL"' in readme
    outside.install(package)
    assert name in outside("estbench", "list", key)
    assert " passed" in outside("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=package)
    (line,) = [each.strip() for each in readme.splitlines() if each.strip().endswith("--out before")]
    _, *command = line.split()
    small = ["--seeds", "2", "--executor", "inline", *(["--measures", *MEASURES] if kind != "measure" else [])]
    outside("estbench", *command, *small, cwd=package)
    outside("estbench", *command[:-1], "after", *small, "--store", "again", cwd=package)
    assert " same." in outside("estbench", "gate", "before", "after", cwd=package)
