import re

import pytest
import torch
from typer.testing import CliRunner

from estbench import NotApplicableError
from estbench.cli.main import app
from tests.support import ROOT, example

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
LOOP, PLUGIN = "docs/how-to/training_loop.md", "docs/how-to/estimators.md"


def test_the_readme_is_short():
    """What it is, the picture, two commands, what one gets, ten lines of Python, where to go: and nothing else."""
    assert re.findall(r"^## (.*)$", TEXT, re.MULTILINE) == [
        "Two commands",
        "What you get",
        "From Python",
        "Where to go",
    ]
    what = TEXT.partition("# estbench\n")[2].partition("![")[0]
    assert len(re.findall(r"[.](?:\s|$)", re.sub(r"\(.*?\)", "", what, flags=re.DOTALL))) == 3
    assert TEXT.count("```python") == 1


def test_the_training_loop_runs():
    """The page's loop runs as it stands and gives every parameter a gradient."""
    names = {}
    exec(example(LOOP, "loop"), names)
    assert all(p.grad is not None for p in names["parameters"])


def test_the_comparison_from_python_runs(tmp_path, monkeypatch, svg_only, capsys):
    """The README's ten lines run, with fewer steps and seeds."""
    code = example("README.md", "python").replace("gradient,training[steps=2000]", "training[steps=3,samples=0]")
    assert len(code.splitlines()) <= 10
    monkeypatch.chdir(tmp_path)
    exec(code.replace("seeds=3", "seeds=2, executor='inline'"), {})
    assert "disarm" in capsys.readouterr().out
    assert (tmp_path / "report" / "index.html").is_file()


def test_the_plugin_is_fifteen_lines_and_is_compared(tmp_path, monkeypatch, svg_only):
    """The page's plugin has at most 15 lines of code and its command works, made small."""
    code = example(PLUGIN, "plugin")
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    (tmp_path / "mean_baseline.py").write_text(code)
    command = "compare -e mean_baseline.py --estimators mean_baseline,reinforce,rloo --tasks vae"
    assert f"estbench {command}" in (ROOT / PLUGIN).read_text(encoding="utf-8")
    small = [
        "--measures",
        "training[steps=3,samples=0]",
        "--seeds",
        "1",
        "--device",
        "cpu",
        "--executor",
        "inline",
        "--out",
        "out",
    ]
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [*command.split(), *small])
    assert done.exit_code == 0, done.output
    assert "mean_baseline" in (tmp_path / "out" / "results.csv").read_text()


def test_the_plugin_refuses_a_batch_of_one():
    """Without other examples there is no mean of their costs: the page's plugin says so."""
    names = {}
    exec(example(PLUGIN, "plugin"), names)
    with pytest.raises(NotApplicableError, match="got a batch of 1"):
        names["MeanBaseline"]().baseline("z", None, torch.ones(1, 1))
    assert names["MeanBaseline"]().baseline("z", None, torch.tensor([[1.0, 3.0]])).tolist() == [[3.0, 1.0]]
