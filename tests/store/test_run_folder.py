"""The folder of a run: one reader, one writer, and a clear line for whatever is not what a run writes."""

import json
import os
import shutil

import pandas as pd
import pytest
from typer.testing import CliRunner

from estbench.cli.main import app
from estbench.cli.parsing import run
from estbench.errors import UserError
from estbench.store.checkpoints import pack
from estbench.store.maintenance import verify
from estbench.store.merge import merge
from estbench.store.run_folder import RunFolder, RunInfo
from estbench.store.store import Store
from tests.support import ROOT

KNOWN = {"command": "estbench compare", "seeds": [0], "seconds": 3, "gpu": None, "versions": {"torch": "2.13"}}


@pytest.fixture
def measured_run(tmp_path):
    """A folder with results and what is known of them."""
    folder = tmp_path / "measured"
    folder.mkdir()
    found = next((ROOT / "reports").glob("*/results.parquet")).parent
    for name in ("results.parquet", "environment.json"):
        shutil.copy(found / name, folder / name)
    return folder


def write(folder, text):
    folder.mkdir(exist_ok=True)
    (folder / "environment.json").write_text(text)
    return RunFolder(folder)


def test_what_is_written_is_read_back(tmp_path):
    """All values, and the version of the format."""
    info = RunInfo(command="estbench compare", seeds=[0, 1], commit="a" * 40, options={"task": {"toy": {"units": 1}}})
    RunFolder(tmp_path).close(info, "tables")
    assert RunFolder(tmp_path).info() == info
    assert json.loads((tmp_path / "environment.json").read_text())["version"] == info.version
    assert RunFolder(tmp_path).tables() == "tables"


@pytest.mark.parametrize("name", sorted(path.parent.name for path in (ROOT / "reports").glob("*/environment.json")))
def test_committed_runs_are_read(name):
    """Runs of before the format had a version hold the same keys, and nothing of them is lost."""
    folder = ROOT / "reports" / name
    values = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    info = RunFolder(folder).info()
    assert values.pop("version", info.version) == info.version
    assert {key: info.known[key] for key in values} == values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not what a run writes: Expecting"),
        ("[1]", "expected an object with the keys of a run; got list"),
        (json.dumps({**KNOWN, "sed": [0]}), "unknown key 'sed'; did you mean 'seeds'?"),
        (json.dumps({**KNOWN, "seeds": "3"}), "seeds: .* got '3'"),
        (json.dumps({**KNOWN, "versions": {"torch": 2}}), "versions.torch: .* got 2"),
        (json.dumps({**KNOWN, "options": {"task": 1}}), "options.task: .* got 1"),
        (json.dumps({**KNOWN, "version": 9}), "has version 9 of the format, and this estbench reads version 1"),
        ("\x00\x01", "is not what a run writes"),
    ],
)
def test_a_changed_file_is_one_clear_line(text, message, tmp_path):
    """Reading it says which file, what is wrong and what was received; so do the commands, without a traceback."""
    folder = write(tmp_path / "run", text)
    with pytest.raises(UserError, match=message) as raised:
        folder.info()
    assert str(folder.path / "environment.json") in str(raised.value)
    assert "\n" not in str(raised.value)
    pd.read_parquet(next((ROOT / "reports").glob("*/results.parquet"))).to_parquet(folder.path / "results.parquet")
    for command in (["report", str(folder.path)], ["plot", "variance", str(folder.path)], ["track", str(folder.path)]):
        assert isinstance(CliRunner().invoke(app, command).exception, UserError)


def test_results_that_lack_columns_are_one_clear_line(tmp_path):
    """Whatever reads a run says so: report, plot, export, diff, track and gate."""
    folder = write(tmp_path / "run", json.dumps({**KNOWN, "commit": "a" * 40}))
    pd.DataFrame({"task": ["toy"]}).to_parquet(folder.path / "results.parquet")
    place = str(folder.path)
    commands = [["report", place], ["plot", "variance", place], ["export", place], ["diff", place, place]]
    for command in [*commands, ["gate", place, place]]:
        error = CliRunner().invoke(app, command).exception
        assert isinstance(error, UserError)
        assert "holds no results of a comparison" in str(error)
        assert "lacks estimator, params" in str(error)


@pytest.mark.parametrize("name", ["environment.json", "results.parquet"])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(name, tmp_path, measured_run, capsys):
    """A report of it is refused in one line, as of a folder in its place."""
    for make in (os.mkfifo, os.mkdir):
        folder = shutil.copytree(measured_run, tmp_path / make.__name__)
        (folder / name).unlink()
        make(folder / name)
        assert run(app, ["report", str(folder), "--out", str(tmp_path / "out")]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert name in line
        assert "no regular file" in line


def test_a_pipe_in_place_of_a_checkpoint_is_named_and_the_rest_is_merged(tmp_path, capsys):
    """Merging and verifying go on."""
    for key in ("a", "b"):
        (tmp_path / "store" / "checkpoints" / key).mkdir(parents=True)
    os.mkfifo(tmp_path / "store" / "checkpoints" / "a" / "steps=4.pt")
    (tmp_path / "store" / "checkpoints" / "b" / "steps=4.pt").write_bytes(pack({"step": 4}))
    merge([tmp_path / "store"], tmp_path / "into")
    assert [path.parent.name for path in Store(tmp_path / "into").states()] == ["b"]
    assert verify(tmp_path / "store") == (0, 1)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert all("cannot read" in line and "it is no regular file" in line for line in said)
