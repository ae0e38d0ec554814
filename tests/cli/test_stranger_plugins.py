"""Plugins of strangers through the command: what is right about them is measured, and what is wrong is one line."""

import csv
import json

import pandas as pd
import pytest

from estbench.store.records import csv as as_csv
from tests.cli.test_wrong_commands import assert_one_line, outcome

SMALL = [
    "--tasks",
    "toy[units=3]",
    "--measures",
    "training[steps=3,evaluations=1]",
    "--seeds",
    "1",
    "--executor",
    "inline",
]

FRAME = '''"""A stranger's plugin."""

import enum, sys
from pathlib import Path

import torch

from estbench import ScoreFunction

print("noise of an import")


class {name}(ScoreFunction):
    """REINFORCE with a constant baseline."""

    unbiased = True

    def __init__({signature}):
        super().__init__()
        print("noise of a constructor")
        {body}

    def baseline(self, name, node, cost):
        {baseline}
        return torch.full_like(cost, 0.5)
'''
ODD = "self, f=lambda x: x, where=Path('.'), names=frozenset({'a'}), thing=object(), *, kinds: set = {1}"
RED = r"raise RuntimeError('=nul \x00 and \x1b[31mred\x1b[0m \u202e and \r\nmore' + 'x' * 5000)"


@pytest.fixture
def compare(tmp_path, monkeypatch, svg_only, capfd):
    """Compares a plugin with RLOO; exit code, stdout, stderr, and the rows."""

    def compared(name, estimators, signature="self", body="pass", baseline="pass", command="compare"):
        monkeypatch.chdir(tmp_path)
        text = FRAME.format(name=name.title().replace("_", ""), signature=signature, body=body, baseline=baseline)
        (tmp_path / f"{name}.py").write_text(text)
        place = [] if command == "plan" else ["--out", "out"]
        arguments = [command, "-e", f"{name}.py", "--estimators", estimators, *SMALL, *place]
        code, out, err = outcome(arguments)
        assert capfd.readouterr().out == ""
        results = tmp_path / "out" / "results.parquet"
        return code, out, err, pd.read_parquet(results) if results.exists() else None

    return compared


def test_odd_defaults_and_no_paper(compare, tmp_path):
    """Defaults that no text gives, and no paper, are no reason to refuse; the environment has stable names for them."""
    code, out, err, rows = compare("odd", "odd,rloo", ODD)
    assert code == 0, err
    assert set(rows["estimator"]) == {"odd", "rloo"}
    assert "noise" not in out + err
    options = json.loads((tmp_path / "out" / "environment.json").read_text())["options"]["estimator"]["odd"]
    assert options["where"] == "."
    assert options["names"] == ["a"]
    assert options["thing"] == "<object>"
    assert "0x" not in json.dumps(options)


def test_options_by_their_types(compare):
    """Text that looks like a number, text with a comma, a list and nothing at all reach the constructor."""
    signature = "self, label: str = 'a', scale: float = 1.0, widths: tuple[int, ...] = (), limit: float | None = 1.0"
    body = "assert (label, widths, limit) in (('2017', (1, 2), None), ('a, b', (3,), 2.0)), (label, widths, limit)"
    estimators = "kinds[label=2017,widths=(1,2),limit=none],kinds[label='a, b',widths=3,limit=2]"
    code, _, err, rows = compare("kinds", estimators, signature, body)
    assert code == 0, err
    assert (rows["status"] == "ok").all()
    assert [json.loads(text)["label"] for text in rows["params"].unique()] == ["2017", "a, b"]
    code, out, err, _ = compare("kinds", "kinds[scale=nan]", signature, command="plan")
    assert_one_line("nan", code, out, err)
    assert "expected a finite number; got 'nan'" in err


def test_a_constructor_that_leaves(compare):
    """The plugin's cell fails with its reason, the other estimator is measured, and the exit code is 1."""
    code, _, err, rows = compare("leaves", "leaves,rloo", body="sys.exit(0)")
    assert code == 1, err
    assert dict(rows.groupby("estimator")["status"].first()) == {"leaves": "failed", "rloo": "ok"}


def test_an_annotation_that_does_not_resolve(compare):
    """Only who gives that option is refused, in one line."""
    signature = "self, n: 'Nowhere' = 1, m: 'sys.exit(0)' = 1"
    code, _, err, _ = compare("unresolved", "unresolved", signature, command="plan")
    assert code == 0, err
    for option in "nm":
        code, out, err, _ = compare("unresolved", f"unresolved[{option}=1]", signature, command="plan")
        assert_one_line(option, code, out, err)
        assert "does not resolve" in err


def test_a_message_with_control_characters(compare, tmp_path):
    """What a plugin raises reaches screen, tables and pages in one printable line of bounded length."""
    code, out, err, rows = compare("escapes", "escapes,rloo", baseline=RED)
    assert code == 1
    (message,) = rows.loc[rows["status"] == "failed", "error"].unique()
    assert message.isprintable()
    assert len(message) <= 1200
    texts = [out, err, *((tmp_path / "out" / name).read_text() for name in ("index.html", "report.md", "results.csv"))]
    for text in texts:
        assert not {"\x00", "\x1b", "\u202e"}.intersection(text)


def test_cells_of_csv_are_no_formulas():
    """Text that a spreadsheet would calculate begins with an apostrophe; numbers stay as they are."""
    rows = pd.DataFrame({"error": ["=1+1", "@x", "-a\n=b", "+1", "fine", None], "value": [-1.5, 2, 3, 4, 5, 6]})
    found = list(csv.DictReader(as_csv(rows).decode().splitlines()))
    assert [row["error"] for row in found] == ["'=1+1", "'@x", "'-a =b", "'+1", "fine", ""]
    assert float(found[0]["value"]) == -1.5


@pytest.mark.parametrize(
    "content",
    ["[]", "3", "null", "{", '{"families": 3}', '{"options": {"task": []}}', '{"papers": {"rloo": 1}}', "\xff"],
)
def test_an_environment_changed_by_hand(tmp_path, monkeypatch, content, compare):
    """A report of a run whose environment is not what a run writes is refused in one line."""
    folder = tmp_path / "out"
    folder.mkdir()
    pd.DataFrame({"task": ["toy"]}).to_parquet(folder / "results.parquet")
    (folder / "environment.json").write_text(content, encoding="latin-1")
    monkeypatch.chdir(tmp_path)
    for command in ("report out", "plot training out", "track out", "gate out out", "diff out out"):
        assert_one_line(command, *outcome(command.split()))
