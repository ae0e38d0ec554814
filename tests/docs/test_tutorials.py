"""The tutorials run as they are committed, in a real Jupyter kernel, and show what their text says."""

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support import ROOT

FOLDER = ROOT / "docs" / "tutorials"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))


def executed(name, folder):
    """The notebook after all its cells were run in an empty folder."""
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    how = {"timeout": 1000, "kernel_name": "python3", "resources": {"metadata": {"path": str(folder)}}}
    return NotebookClient(notebook, **how).execute()


def outputs(notebook, source):
    """What the cell with this source gave, as text."""
    (cell,) = [each for each in notebook.cells if each.cell_type == "code" and source in each.source]
    assert cell.outputs, f"the cell with {source!r} shows nothing"
    return "\n".join(str(each.get("data", each.get("text"))) for each in cell.outputs)


def test_there_are_three():
    """A first comparison, an estimator of one's own, a comparison for a paper."""
    assert NAMES == ["first_comparison", "for_a_paper", "own_estimator"]


@pytest.mark.parametrize("name", NAMES)
def test_notebooks_are_committed_without_outputs(name):
    """Neither outputs nor counts of executions are kept, and the file is a valid notebook."""
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert cell.cell_type == "markdown" or (cell.outputs, cell.execution_count) == ([], None)


@pytest.mark.long
def test_a_first_comparison(tmp_path):
    """It shows tables, sentences, tests and a figure as a picture, and keeps what it measured."""
    done = executed("first_comparison", tmp_path)
    assert "widget-view" in outputs(done, "progress=True")
    assert "rloo[samples=4]" in outputs(done, "run.table()")
    assert "elbo" in outputs(done, "run.answers()").lower()
    assert "image/png" in outputs(done, 'run.figure("variance")')
    assert "gumbel_softmax" in outputs(done, "groupby")
    assert list((tmp_path / ".estbench").rglob("*.parquet"))


@pytest.mark.long
def test_your_own_estimator(tmp_path):
    """The sound estimator passes all checks, the biased one fails that of its bias, and both are compared."""
    done = executed("own_estimator", tmp_path)
    assert "failed" not in outputs(done, "verdicts = estbench.check(OthersMean)")
    assert "unbiased[" in outputs(done, "class AllMean")
    assert "others_mean[samples=4]" in outputs(done, "table[[")


@pytest.mark.long
def test_a_comparison_for_a_paper(tmp_path):
    """Options are chosen, a figure and tables in LaTeX are written, and the report reads back."""
    done = executed("for_a_paper", tmp_path)
    assert "cells" in outputs(done, "estbench.plan")
    assert "task_learning_rate" in outputs(done, "estimator_temperature")
    assert r"\begin{table}" in outputs(done, "tables.tex")
    assert "[0, 1, 2]" in outputs(done, "back.info.seeds")
    assert (tmp_path / "training.pdf").read_bytes().startswith(b"%PDF")
