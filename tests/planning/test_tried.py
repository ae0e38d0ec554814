"""What a plan costs beside its cells: settings of one plugin are tried in one process, unless one of them ends it."""

import pytest

from estbench.planning.tried import all_tried
from estbench.plugins.registry import Plugins
from estbench.plugins.spec import Spec

NOTING = '''
import os
from pathlib import Path

from estbench import ScoreFunction


class Noting(ScoreFunction):
    """The score function without a baseline; it notes where it is made, and one setting ends its process."""

    unbiased, paper = True, ""

    def __init__(self, scale: float = 1.0):
        super().__init__()
        with Path({log!r}).open("a") as log:
            log.write(f"{{os.getpid()}}\\n")
        if scale == 13:
            os._exit(3)

    def baseline(self, name, node, cost):
        return 0 * cost
'''


@pytest.mark.parametrize(("scales", "processes", "faults"), [((1.0, 2.0, 3.0), 1, 0), ((1.0, 13.0, 3.0), 4, 1)])
def test_settings_of_a_plugin_are_tried_in_one_process(scales, processes, faults, tmp_path):
    """Three settings take one child; if one ends it, each is tried by itself, and only that one has a fault."""
    log, file = tmp_path / "made.txt", tmp_path / "noting.py"
    file.write_text(NOTING.format(log=str(log)))
    specs = [Spec("noting", {"scale": scale}) for scale in scales]
    found = all_tried(Plugins.found([str(file)]), "estimator", specs, None)
    assert [each.spec for each in found] == specs
    assert sum(bool(each.fault) for each in found) == faults
    assert len(set(log.read_text().split())) == processes
