"""Charts are found by folder and by entry point: one file adds one."""

import subprocess
import sys
import tomllib

import pytest

from estbench import report
from estbench.errors import UserError
from estbench.plugins.registry import parts
from estbench.report import gallery
from estbench.report.charts.base import Chart
from tests.support import ROOT, example
from tests.support.report_results import ENVIRONMENT, results

FOLDER = ROOT / "estbench" / "report" / "charts"


@pytest.fixture
def one_task():
    return results(4, tasks=("toy",))


@pytest.fixture
def documented(install):
    """The example of docs/how-to/charts.md, installed as a package with the entry point that it has there."""
    points = tomllib.loads(example("docs/how-to/charts.md", "chart entry point"))["project"]["entry-points"]
    install(
        "my_package",
        "estbench.charts",
        points["estbench.charts"],
        "my_charts",
        example("docs/how-to/charts.md", "chart"),
    )
    yield
    sys.modules.pop("my_charts", None)


def test_every_file_of_the_folder_is_a_kind():
    """Each holds one concrete chart, named as the file; the positions of a report tell all of them apart."""
    found = parts("chart")
    assert not found.problems
    files = {path.stem.replace("_", "-") for path in FOLDER.glob("[a-z]*.py")} - {"base"}
    assert set(found.plugins) == files
    charts = gallery.charts()
    assert set(charts) == files
    assert all(isinstance(chart, Chart) for chart in charts.values())
    positions = [chart.position for chart in charts.values()]
    assert positions == sorted(set(positions))


def test_finding_kinds_imports_no_matplotlib():
    """Kinds are named and described from their sources."""
    code = (
        "import sys; from estbench.plugins.registry import parts; "
        "assert all(plugin.summary for kind in ('chart', 'executor') for plugin in parts(kind).plugins.values()); "
        "assert not {'matplotlib', 'torch', 'pandas'} & set(sys.modules), 'imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_documented_chart_is_drawn_and_reported(documented, one_task, svg_only, tmp_path):
    """The example of the how-to page appears in the page, in report.md and by `plot`, between speed and classes."""
    assert list(gallery.charts()).index("time-bars") == list(gallery.charts()).index("speed") + 1
    (file,) = report.plot("time-bars", one_task, tmp_path, formats=("svg",))
    assert "milliseconds" in file.read_text()
    page = report.write(one_task, ENVIRONMENT, tmp_path / "report")
    assert (tmp_path / "report" / "figures" / "time-bars-1-toy.svg").is_file()
    assert "Time as bars" in page.read_text()
    assert "### Time as bars" in (tmp_path / "report" / "report.md").read_text()


def test_the_list_names_charts_and_executors(documented):
    """`estbench list charts` has a line for each kind, with where an installed one is from."""
    path = next(entry for entry in sys.path if entry.endswith("my_package"))
    done = subprocess.run(
        [sys.executable, "-m", "estbench", "list", "charts"],
        env={"PYTHONPATH": path, "COLUMNS": "120", "PATH": ""},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Time of a training step, as bars." in done.stdout
    assert "package my_package" in done.stdout
    assert "bias-variance" in done.stdout


def test_an_unknown_kind_names_the_nearest(one_task, tmp_path):
    """Likewise where a file's name is given for the kind."""
    for wrong in ("bias_variance", "bias-varianc"):
        with pytest.raises(UserError, match=r"unknown chart .*; did you mean 'bias-variance'"):
            report.plot(wrong, one_task, tmp_path)


def test_a_chart_that_cannot_be_imported_costs_no_report(install, capsys):
    """It is left out with one line; the others are drawn."""
    install("broken_package", "estbench.charts", {"broken": "broken_charts:Chart"}, "broken_charts", "1 / 0\n")
    found = gallery.charts()
    assert "broken" not in found
    assert "variance" in found
    (line,) = capsys.readouterr().err.splitlines()
    assert "chart 'broken' (package broken_package) fails to import: ZeroDivisionError" in line
