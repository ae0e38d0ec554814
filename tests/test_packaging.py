"""What the wheel holds."""

import zipfile
from pathlib import Path

from tests.support import ROOT
from tests.support.wheel import built


def test_the_wheel_holds_plugins_suites_and_the_page_and_no_top_level_tasks(tmp_path):
    """Plugins are installed inside the package, with every file that is no Python source."""
    wheel = built(tmp_path)
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"estbench"}
    for folder, inside in (("estimators", "estimators"), ("tasks", "tasks"), ("estbench", ".")):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                expected = Path("estbench", inside, path.relative_to(ROOT / folder)).as_posix()
                assert expected in names, f"{path.name} is not in the wheel"
