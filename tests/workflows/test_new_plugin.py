"""New plugin packages: they pass their tests as they stand."""

import subprocess
import sys
import tomllib

import pytest
from typer.testing import CliRunner

from estbench.cli.main import app
from estbench.errors import UserError
from estbench.workflows.new_plugin import new
from tests.support import PATIENCE


@pytest.mark.parametrize(
    "kind", [pytest.param("estimator", marks=pytest.mark.long), pytest.param("task", marks=pytest.mark.long), "measure"]
)
def test_a_new_package_passes_its_own_tests(kind, tmp_path):
    """A package as it is written passes the tests it comes with."""
    place = new(kind, "my-own", tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib"]
    tested = subprocess.run([*command, "-o", "pythonpath=.", "tests"], cwd=place, check=False, timeout=PATIENCE)
    assert tested.returncode == 0


@pytest.mark.parametrize("kind", ["estimator", "task", "measure"])
def test_a_new_package_names_its_class(kind, tmp_path):
    """The entry point is in the group of its kind and names the class that the module defines."""
    place = new(kind, "my_own", tmp_path)
    project = tomllib.loads((place / "pyproject.toml").read_text())["project"]
    assert place.name == project["name"] == "estbench-my-own"
    assert project["entry-points"] == {f"estbench.{kind}s": {"my_own": "estbench_my_own:MyOwn"}}
    assert "class MyOwn(" in (place / "estbench_my_own.py").read_text()
    files = {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}
    assert files == {"README.md", "pyproject.toml", "estbench_my_own.py", "tests/test_my_own.py"}
    assert not any("$" in path.read_text() for path in place.rglob("*.*") if path.is_file())


def test_an_existing_folder_is_refused(tmp_path):
    """What is there already is not overwritten."""
    place = new("estimator", "mine", tmp_path)
    (place / "README.md").write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        new("estimator", "mine", tmp_path)
    assert (place / "README.md").read_text() == "mine"


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [
        ("estimator", "Mine", "lower-case words.*'Mine'"),
        ("estimator", "1st", "lower-case words.*'1st'"),
        ("estimator", "../mine", "lower-case words"),
        ("estimator", "my own", "lower-case words"),
        ("estimator", "", "lower-case words"),
        ("task", "class", "lower-case words"),
        ("estimator", "rloo", "built-in estimator 'rloo' already"),
        ("chart", "mine", "an estimator, a task or a measure; got 'chart', known: estimator, measure, task"),
        ("estimater", "mine", r"got 'estimater', did you mean 'estimator'\?"),
    ],
)
def test_invalid_names_are_refused(kind, name, reason, tmp_path):
    """A name that is not valid, or taken, is refused in one line, and nothing is written."""
    with pytest.raises(UserError, match=reason) as error:
        new(kind, name, tmp_path)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_a_new_measure_is_installed_and_run(tmp_path, monkeypatch, svg_only):
    """Installed, it is found by its entry point, measures in this process, and has its column in the report."""
    place = new("measure", "my_own", tmp_path)
    target = tmp_path / "installed"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--target", str(target), str(place)], check=True, timeout=PATIENCE)
    monkeypatch.syspath_prepend(str(target))
    arguments = [
        "compare", "--measures", "my_own", "--tasks", "toy", "--estimators", "rloo,exact", "--seeds", "2",
        "--executor", "inline", "--store", str(tmp_path / "store"), "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "Gradient norm" in (tmp_path / "out" / "report.md").read_text()
