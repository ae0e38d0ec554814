"""A few inputs of the fuzz script with a fixed seed; ``python -m scripts.fuzz`` runs as many as there is time for."""

import random
import sys

import pytest

from scripts.fuzz import commands, plugins, runs, stores
from scripts.fuzz.outcome import outcome

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="its limits are those of Linux")


@pytest.mark.parametrize("number", [0, *(pytest.param(number, marks=pytest.mark.long) for number in range(1, 10))])
def test_a_command_made_at_random_has_no_traceback(number, tmp_path):
    """It is answered, or refused in one line, and leaves no process behind."""
    (folder := tmp_path / "input").mkdir()
    words = commands.drawn(folder, random.Random(f"command {number}"))
    assert outcome(words, folder).wrong == [], words


@pytest.mark.long
def test_a_damaged_store_has_no_traceback(tmp_path):
    """Three commands on a store in which one or two files were changed at random."""
    (sound := tmp_path / "input").mkdir()
    assert stores.made(sound).wrong == []
    draw = random.Random("store")
    for command in stores.COMMANDS[:3]:
        how = stores.damaged(sound, draw)
        assert outcome(command.split(), sound).wrong == [], (command, how)


@pytest.mark.long
@pytest.mark.parametrize(("kind", "place", "fault"), [("estimator", "in_hook", "fork"), ("task", "in_model", "orphan")])
def test_a_plugin_at_fault_costs_nobody_else_anything(kind, place, fault, tmp_path):
    """RLOO's loss beside it is that of a run alone, and no process is left."""
    (folder := tmp_path / "input").mkdir()
    _, wrong = runs.compare(plugins.made(kind, "faulty", place, fault), "inline", folder)
    assert wrong == []


@pytest.mark.long
@pytest.mark.parametrize("number", range(30))
def test_a_plugin_made_at_random_costs_nobody_else_anything(number, tmp_path):
    """Whatever it does wrong, and wherever."""
    draw = random.Random(f"plugin {number}")
    (folder := tmp_path / "input").mkdir()
    faulty = plugins.drawn(draw, "faulty")
    _, wrong = runs.compare(faulty, runs.drawn(draw), folder)
    assert wrong == [], faulty.label
