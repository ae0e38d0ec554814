"""Which room may import which: every contract of import-linter holds, and fails when it is broken."""

import json
import shutil
import subprocess
import sys

import pytest

from tests.support import ROOT

pytest.importorskip("importlinter", reason="import-linter is not installed")

# for each contract a file and an import that it forbids
PLANTED = {
    "rooms": ("estbench/stats/welch.py", "import estbench.core.copula"),
    "report": ("estbench/report/model/wide.py", "import estbench.report.formats.latex"),
    "engine": ("estbench/engine/profiling/png.py", "import estbench.engine.moments.points"),
    "execution": ("estbench/execution/cell_runner.py", "import estbench.execution.runner"),
    # by way of another module
    "torch": ("estbench/report/model/wide.py", "import estbench.core.copula"),
    "plugins": ("estbench/core/noise.py", "from estbench.tasks.vae import VAE"),
    "estimators": ("estimators/arm.py", "    from estbench.estimators import zgr"),
    "tasks": ("tasks/toy.py", "import estbench.estimators.exact"),
}

# in the current folder: the exit code of all contracts as it stands, and of each one with its plant
CHECK = """
import json, sys
from pathlib import Path
from importlinter.cli import lint_imports
sys.path.insert(0, "")
found = {"": lint_imports(no_cache=True)}
for name, (place, line) in json.loads(sys.argv[1]).items():
    path = Path(place)
    before = path.read_text()
    body = f"\\n\\ndef planted():\\n{line}\\n" if line.startswith(" ") else f"\\n{line}\\n"
    path.write_text(before + body)
    found[name] = lint_imports(limit_to_contracts=(name,), no_cache=True)
    path.write_text(before)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def codes(tmp_path_factory):
    """Exit codes of import-linter in a copy of the sources, as they are and with each forbidden import."""
    folder = tmp_path_factory.mktemp("copy")
    ignored = shutil.ignore_patterns("__pycache__", "*.csv", "*.html")
    for name in ("estbench", "estimators", "tasks", "scripts"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    command = [sys.executable, "-c", CHECK, json.dumps(PLANTED)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_every_contract_holds(codes):
    """The sources as they are break none."""
    assert codes[""] == 0


@pytest.mark.parametrize("contract", PLANTED)
def test_a_forbidden_import_breaks_its_contract(codes, contract):
    """One planted line is enough, also within a function and by way of another module."""
    assert codes[contract] == 1


def test_every_contract_is_planted_against():
    """None is in pyproject.toml that has not been seen to fail."""
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert {each["id"] for each in settings["tool"]["importlinter"]["contracts"]} == set(PLANTED)
