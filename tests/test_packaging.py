"""What the wheel holds, and that everything that says what estbench needs says the same."""

import re
import tomllib
import zipfile
from pathlib import Path

import estbench
from tests.support import ROOT
from tests.support.wheel import built

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# what a package index and an installer read
ABOUT = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE", "top_level.txt"}


def test_the_wheel_holds_what_a_user_needs_and_nothing_else(tmp_path):
    """The modules of the framework, the plugins inside it, and their data: no tests, scripts, docs or reports."""
    names = set(zipfile.ZipFile(built(tmp_path)).namelist())
    expected = {f"estbench-{estbench.__version__}.dist-info/{name}" for name in ABOUT}
    for folder, inside in (("estimators", "estimators"), ("tasks", "tasks"), ("estbench", ".")):
        files = (path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        expected |= {Path("estbench", inside, path.relative_to(ROOT / folder)).as_posix() for path in files}
    assert names == expected
    kinds = {Path(name).suffix for name in expected if ".dist-info" not in name}
    assert kinds == {".py", ".typed", ".npz", ".toml", ".csv", ".html", ".css", ".js"}


def test_the_version_is_one():
    """The package, its metadata and its citation name the same version."""
    assert estbench.__version__ == PROJECT["version"]
    assert f"\nversion: {estbench.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def needed(lines):
    """Names and lowest versions of requirements."""
    return dict(re.match(r"([\w-]+)>=([\d.]+)$", line).groups() for line in lines)


def test_requirements_are_the_same_everywhere():
    """The lowest versions that are tested and the conda recipe's are those of the wheel, and none has an upper cap."""
    own = needed(PROJECT["dependencies"])
    lines = (ROOT / "packaging" / "lowest.txt").read_text().splitlines()
    lowest = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert lowest.keys() == own.keys()
    assert all(version == own[name] or version.startswith(f"{own[name]}.") for name, version in lowest.items())
    recipe = (ROOT / "packaging" / "conda" / "meta.yaml").read_text().partition("  run:")[2].partition("\ntest:")[0]
    names = {"matplotlib-base": "matplotlib", "seaborn-base": "seaborn", "pytorch": "torch"}
    conda = {names.get(name, name): version for name, version in re.findall(r"- ([\w-]+) >=([\d.]+)", recipe)}
    assert conda == own | {"python": PROJECT["requires-python"].removeprefix(">=")}


def test_the_extra_all_is_every_extra_of_users():
    """All but that for the tests of this repository."""
    extras = PROJECT["optional-dependencies"]
    (line,) = extras["all"]
    assert set(re.match(r"estbench\[(.*)\]$", line)[1].split(",")) == extras.keys() - {"all", "test"}


def test_seaborn_is_asked_for_its_style_alone():
    """One file imports it, for a dictionary of settings; matplotlib 3.13 breaks its ``boxplot`` and ``violinplot``."""
    users = {
        path.relative_to(ROOT).as_posix(): re.findall(r"\bsns\.\w+", path.read_text())
        for path in (ROOT / "estbench").rglob("*.py")
        if re.search(r"^\s*(import|from) seaborn", path.read_text(), re.MULTILINE)
    }
    assert users == {"estbench/report/drawing/style.py": ["sns.axes_style"]}
