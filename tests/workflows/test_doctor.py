"""``estbench doctor`` says what works, and one broken part hides no other."""

import os

import pytest
import torch
from typer.testing import CliRunner

from estbench.cli.main import app
from estbench.workflows import doctor
from estbench.workflows.doctor import diagnose

PARTS = ["python", "torch", "GPU", "plugins", "data sets", "extras", "workers", "store", "browser"]


def state(found, part):
    return next(each for each in found if each.part == part)


def test_every_part_is_told_in_one_line(tmp_path):
    """Nine parts, a line each, at most ten lines in all; nothing that is needed is broken here."""
    done = CliRunner().invoke(app, ["doctor", "--store", str(tmp_path / "s")])
    lines = done.stdout.splitlines()
    assert [next(part for part in PARTS if line.startswith(part)) for line in lines] == PARTS
    assert done.exit_code == 0
    assert torch.__version__ in lines[1]


def test_a_broken_part_is_named_with_what_to_do_and_the_others_are_told(tmp_path, monkeypatch):
    """Where torch cannot differentiate the exit code is 1, and the other parts are looked at all the same."""

    def broken(*_args, **_options):
        raise RuntimeError("no kernel\nmore")

    monkeypatch.setattr(torch, "ones", broken)
    found = list(diagnose(tmp_path))
    assert [each.part for each in found] == PARTS
    assert state(found, "torch").state == "broken"
    assert state(found, "torch").finding == "RuntimeError: no kernel"
    assert state(found, "torch").remedy
    assert CliRunner().invoke(app, ["doctor", "--store", str(tmp_path)]).exit_code == 1


def test_a_store_that_cannot_be_written_is_broken(tmp_path):
    """A file in the place of the folder above is said, with the option that names another folder."""
    (tmp_path / "file").touch()
    found = state(diagnose(tmp_path / "file" / "store"), "store")
    assert found.state == "broken"
    assert "--store" in found.remedy
    assert state(diagnose(tmp_path / "none" / "yet"), "store").state == "ok"


def test_what_can_be_done_without_is_absent_and_said_how_to_get(tmp_path, monkeypatch):
    """Extras and data sets that are not here are named with the command that brings them."""
    monkeypatch.setattr(doctor, "_version", lambda name: "" if name == "ray" else "1.0")
    monkeypatch.setenv("ESTBENCH_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = list(diagnose(tmp_path))
    assert state(found, "extras").state == "absent"
    assert state(found, "extras").remedy == "pip install 'estbench[ray]'"
    assert state(found, "data sets").remedy.startswith("estbench data fetch mnist")


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system does not say which cores are ours")
def test_little_memory_is_said(tmp_path, monkeypatch):
    """Where less than half a GiB a core is free, fewer workers are advised."""
    sizes = {"SC_AVPHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__)
    assert "workers=1" in state(diagnose(tmp_path), "workers").remedy
