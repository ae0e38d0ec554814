import re
import subprocess
import sys

from tests.support import ROOT

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def example(name):
    return re.search(rf"<!-- test: {name} -->\n```python\n(.*?)```", TEXT, re.DOTALL).group(1)


def test_the_training_loop_runs():
    """The README's loop runs as it stands and gives every parameter a gradient."""
    names = {}
    exec(example("loop"), names)
    assert all(p.grad is not None for p in names["parameters"])


def test_the_plugin_is_fifteen_lines_and_is_compared(tmp_path):
    """The README's plugin has at most 15 lines of code and its command works, made small."""
    code = example("plugin")
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    (tmp_path / "mean_baseline.py").write_text(code)
    command = "compare -e mean_baseline.py --estimators mean_baseline,reinforce,rloo --tasks vae"
    assert f"estbench {command}" in TEXT
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
    done = subprocess.run(
        [sys.executable, "-m", "estbench", *command.split(), *small],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "mean_baseline" in (tmp_path / "out" / "results.csv").read_text()


def test_links_lead_to_files_that_exist():
    """Every relative link of the README names a file of the repository."""
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert all((ROOT / link).exists() for link in links if "://" not in link)
