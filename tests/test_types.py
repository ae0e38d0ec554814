"""Types: mypy sees the plugins beside the framework, each as the package under which it is installed."""

import shutil
import subprocess
import sys

import pytest

from tests.support import ROOT

pytest.importorskip("mypy", reason="mypy is not installed")

# a file of each folder, and a wrong type at its end
PLANTED = {
    "estimators/arm.py": 'x: int = "a"\n',
    "tasks/toy.py": 'x: int = "a"\n',
    "estbench/core/noise.py": 'x: int = "a"\n',
}


@pytest.mark.long
def test_a_wrong_type_in_the_framework_or_a_plugin_is_an_error(tmp_path):
    """As ``make lint`` runs it, mypy names exactly the planted lines in a copy of the sources."""
    for name in ("estbench", "estimators", "tasks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    lines = {}
    for name, planted in PLANTED.items():
        path = tmp_path / name
        text = path.read_text(encoding="utf-8")
        path.write_text(text + planted, encoding="utf-8")
        lines[name] = len(text.splitlines()) + 1
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--hide-error-context"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    found = {line.rpartition(": error: ")[0] for line in done.stdout.splitlines() if ": error: " in line}
    assert done.returncode == 1, done.stderr
    assert found == {f"{name}:{line}" for name, line in lines.items()}
