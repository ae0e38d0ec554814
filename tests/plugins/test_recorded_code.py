from importlib.metadata import version

import pytest

from estbench.plugins.recorded_code import RecordedCode, recorded_code
from estbench.plugins.registry import Plugins

SOURCE = '''
import numpy, torch
from helper_one import f
import package_of_mine.part
from estbench import ScoreFunction


class Mine(ScoreFunction):
    """Zero baseline."""

    unbiased = True

    def baseline(self, name, node, cost):
        return torch.zeros_like(cost)
'''


@pytest.fixture
def folder(tmp_path):
    """A plugin file, what it imports from beside it, and something that it does not."""
    (tmp_path / "mine.py").write_text(SOURCE)
    (tmp_path / "helper_one.py").write_text("import helper_two, pandas\nf = 1\n")
    (tmp_path / "helper_two.py").write_text("import helper_one\n")
    (tmp_path / "unused.py").write_text("import scipy\n")
    (tmp_path / "package_of_mine").mkdir()
    (tmp_path / "package_of_mine" / "__init__.py").write_text("")
    (tmp_path / "package_of_mine" / "part.py").write_text("x = 1\n")
    return tmp_path


def test_the_files_of_a_plugin_are_kept_and_the_versions_of_what_it_imports(folder):
    """All files beside it that it needs, and no others; a folder with copies of them imports alike."""
    plugin = Plugins.found((str(folder / "mine.py"),)).estimators["mine"]
    found = recorded_code([plugin])
    (own,) = found.sources.values()
    assert list(found.sources) == ["estimator/mine"]
    needed = {"mine.py", "helper_one.py", "helper_two.py", "package_of_mine/__init__.py", "package_of_mine/part.py"}
    assert set(own) == needed
    assert all(own[name] == (folder / name).read_text() for name in needed)
    expected = {name: version(name) for name in ("numpy", "torch", "pandas")}
    assert expected.items() <= found.versions.items()
    assert "scipy" not in found.versions


def test_a_file_that_was_spoilt_since_is_kept_as_it_is(folder):
    """What is no Python names no package, and raises nothing; without plugins of others nothing is kept."""
    plugin = Plugins.found((str(folder / "mine.py"),)).estimators["mine"]
    (folder / "mine.py").write_text("class :")
    assert recorded_code([plugin]).sources == {"estimator/mine": {"mine.py": "class :"}}
    assert recorded_code([]) == RecordedCode()
