import importlib.util
import json
from pathlib import Path

from estbench.plugins import discover

ROOT = Path(__file__).parents[1]


def manifest():
    spec = importlib.util.spec_from_file_location("manifest", ROOT / "benchmarks" / "manifest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_manifest_holds_every_built_in_estimator_once():
    """asv stores parameters by position, so each built-in must have a place of its own."""
    names = manifest().ESTIMATORS
    assert len(set(names)) == len(names)
    assert set(names) >= set(discover("estimator").plugins)


def test_the_configuration_installs_the_tested_versions():
    """asv's environments come from constraints.txt."""
    config = json.loads((ROOT / "asv.conf.json").read_text())
    assert any("constraints.txt" in command for command in config["install_command"])
