"""Time limits: whatever a plugin does, it has the time of --timeout for it."""

import pytest

from scripts.fuzz.plugins import PLACES, made
from tests.cli.test_wrong_commands import outcome

pd = pytest.importorskip("pandas")
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


def test_a_task_that_cannot_be_made_in_time_fails(tmp_path):
    """Its cell says so, it is not tried again, and the exit code is 1."""
    code, err, rows = compared(tmp_path, ["task"], ["in_constructor"], "inline", 5)
    assert code == 1, err
    assert set(rows["task"]) == {"hangs_in_constructor"}
    assert rows["error"].str.contains(OUT_OF_TIME).all(), rows["error"].tolist()


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
