"""Where ``plot`` writes its files."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from estbench import report
from estbench.cli.main import app
from estbench.report import FigureTarget


def plot(*arguments):
    return CliRunner().invoke(app, ["plot", "gumbel_softmax", *map(str, arguments)])


def test_a_name_with_the_suffix_of_a_format_is_the_file(five, tmp_path):
    """Only that file is written, of that format, by the command and from Python."""
    done = plot("--out", tmp_path / "new" / "curve.PNG")
    assert done.exit_code == 0, done.output
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["curve.png"]
    to = FigureTarget.of(tmp_path / "curve.pdf", None)
    written = report.plot("speed", five[five["task"] == "toy"], to.folder, name=to.name, formats=to.formats)
    assert written == [tmp_path / "curve.pdf"]
    assert written[0].read_bytes().startswith(b"%PDF")


def test_a_name_without_a_suffix_is_a_folder(tmp_path):
    """It holds the kind of figure in each format; so does a folder that exists, whatever its name."""
    (tmp_path / "today.pdf").mkdir()
    for folder in ("figures", "today.pdf"):
        assert plot("--out", tmp_path / folder, "--format", "svg").exit_code == 0
        assert [path.name for path in (tmp_path / folder).iterdir()] == ["gumbel_softmax.svg"]


@pytest.mark.parametrize(
    ("name", "formats", "message"),
    [
        ("curve.gif", [], "figures are files of svg, png, pdf, and a folder"),
        ("curve.pdf", ["--format", "svg,png"], "one file has one format; got"),
        ("curve.pdf", ["--format", "png"], "one file has one format; got"),
    ],
)
def test_other_suffixes_and_several_formats_for_one_file_are_refused(name, formats, message, tmp_path):
    """In one line, and nothing is written."""
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        FigureTarget.of(tmp_path / name, formats[1].split(",") if formats else None)
    assert "\n" not in str(caught.value)
    assert plot("--out", tmp_path / name, *formats).exit_code != 0
    assert not list(tmp_path.iterdir())


def test_the_default_is_the_folder_with_all_formats():
    """Nothing said, the kind gives the name."""
    assert FigureTarget.of(Path("runs"), None) == FigureTarget(Path("runs"), "", ("svg", "png", "pdf"))
