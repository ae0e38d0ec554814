"""Time limits: whatever a plugin does, it has the time of --timeout for it."""

import pytest

from estbench.planning.task_facts import task_facts
from estbench.planning.tried import tried
from estbench.plugins.options import ConstructionError
from estbench.plugins.registry import Plugins
from estbench.plugins.spec import Spec
from scripts.fuzz.plugins import PLACES, made
from tests.cli.test_wrong_commands import outcome

pd = pytest.importorskip("pandas")
TASK = '''
import time
from estbench import Task


class Hangs(Task):
    """At fault."""

    objective = "loss"
    baseline = "rloo"

    def model(self): ...

    def splits(self): ...

'''
OUT_OF_TIME = "it took longer than the --timeout of"


def compared(folder, kinds, places, executor, seconds):
    """A comparison of plugins that hang, each in one place; exit code, stderr, and the reasons of failed rows."""
    names = [f"hangs_{place}" for place in places]
    files = []
    for kind, name, place in zip(kinds, names, places, strict=True):
        (folder / f"{name}.py").write_text(made(kind, name, place, "hang").source)
        files += ["-e", str(folder / f"{name}.py")]
    chosen = {"task": "toy[units=2]", "estimator": "rloo", "measure": "training[steps=2]"}
    chosen[kinds[0]] = ",".join(names)
    words = ["compare", *files, "--seeds", "1", "--executor", executor, "--timeout", str(seconds), "--device", "cpu"]
    words += [part for kind, names in chosen.items() for part in (f"--{kind}s", names)]
    code, _, err = outcome([*words, "--out", str(folder / "out"), "--store", str(folder / "store")])
    place = folder / "out" / "results.parquet"
    return code, err, pd.read_parquet(place) if place.exists() else None


def test_a_file_that_hangs_where_it_is_imported_is_refused(tmp_path):
    """Before anything is measured, in one line."""
    code, err, rows = compared(tmp_path, ["task"], ["at_import"], "inline", 1)
    assert (code, rows) == (2, None)
    assert err.startswith("estbench: plugin file ")
    assert err.endswith(f"{OUT_OF_TIME} 1 s\n")


@pytest.mark.parametrize("place", ["in_constructor", "in_effective"])
def test_what_planning_asks_of_a_task_has_its_time(place, tmp_path):
    """A task that hangs where it is made, or asked for its options, fails in its cells and is not tried again."""
    body = {"in_constructor": "def __init__(self):", "in_effective": "def effective(self):"}[place]
    (tmp_path / "hangs.py").write_text(TASK + f"    {body}\n        time.sleep(60)\n")
    plugins = Plugins.found((tmp_path / "hangs.py",))
    found = tried(plugins, "task", Spec("hangs"), 2)
    assert found.fault.endswith(f"{OUT_OF_TIME} 2 s")
    known = plugins.having({"task": {found.spec: found.fault}})
    with pytest.raises(ConstructionError, match=OUT_OF_TIME):
        known.tasks.make(found.spec)
    assert task_facts(known, found.spec).named == ()


@pytest.mark.long
@pytest.mark.parametrize("executor", ["inline", "local[workers=2]"])
@pytest.mark.parametrize("kind", PLACES)
def test_every_hook_has_its_time(kind, executor, tmp_path):
    """A hook that is asked fails its cells by the time limit; none makes the comparison hang."""
    places = [place for place in PLACES[kind].split() if place not in ("at_import", "in_class")]
    code, err, rows = compared(tmp_path, [kind] * len(places), places, executor, 15)
    assert code == 1, err
    found = rows[rows["status"] == "failed"]
    assert found["error"].str.contains(OUT_OF_TIME).all(), found["error"].tolist()
    never_asked = {"in_closed_form", "in_supplement", "in_state", "in_evaluations", "in_parameters", "in_refusal"}
    failed = {str(name).partition("hangs_")[2].partition("[")[0] for name in found[kind]}
    assert failed >= {place for place in places if place not in never_asked}
