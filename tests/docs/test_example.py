"""The example package, installed into a fresh environment as somebody else's."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.support import PATIENCE, ROOT

# they share one environment
pytestmark = pytest.mark.xdist_group("example")
EXAMPLE = ROOT / "examples" / "estbench-antithetic-rloo"


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """A fresh environment in which the example package is installed; returns a way to run its Python."""
    folder = tmp_path_factory.mktemp("outside")
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"

    def run(*arguments):
        wide = {**os.environ, "COLUMNS": "200"}
        command = [python, *arguments]
        return subprocess.check_output(command, text=True, cwd=folder, timeout=PATIENCE, env=wide)

    ours = sysconfig.get_path("purelib")
    theirs = run("-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    # torch and estbench are seen from here: nothing is downloaded
    Path(theirs, "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    shutil.copytree(EXAMPLE, folder / "package")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    subprocess.run([*pip, *offline, str(folder / "package")], check=True, timeout=PATIENCE)
    return run


def test_an_installed_package_is_listed(outside):
    """``estbench list`` shows the example, and where it comes from."""
    lines = outside("-m", "estbench", "list", "estimators").splitlines()
    (line,) = [line for line in lines if "antithetic_rloo" in line]
    assert "package estbench-antithetic-rloo" in line
    assert "yes" in line
    assert any("disarm" in line for line in lines)


@pytest.mark.long
def test_an_installed_package_is_checked(outside):
    """The example passes its own conformance test."""
    assert " passed" in outside("-m", "pytest", "-q", "-p", "no:cacheprovider", "package/tests")


@pytest.mark.long
def test_an_installed_package_is_compared(outside):
    """``estbench compare`` measures the example beside a built-in estimator."""
    names = ["--estimators", "antithetic_rloo[pairs=2],rloo[samples=4]"]
    names += ["--measures", "gradient[replicates=64,after=0]", "--seeds", "1", "--executor", "inline"]
    out = outside("-m", "estbench", "compare", "--tasks", "toy", *names)
    assert "antithetic_rloo" in out
    assert "rloo[samples=4]" in out
