"""The page on Python holds: its examples, put together, are a script that runs."""

import re
import subprocess
import sys

import pytest

from tests.support import ROOT

TEXT = (ROOT / "docs" / "how-to" / "python.md").read_text(encoding="utf-8")
CODE = re.findall(r"<!-- test: [\w-]+ -->\n```python\n(.*?)```", TEXT, re.DOTALL)
FACTS = """
assert set(run.results["status"]) == {"ok"}, run.results["error"].unique()
assert sorted(run.estimators) == ["half_baseline", "half_baseline[samples=4]", "rloo"], run.estimators
assert len(again.estimators) == 4
assert not failed, failed
assert z.shape == logits.shape
"""


def test_the_examples_on_built_in_plugins_run(tmp_path, monkeypatch, svg_only):
    """All but those with an own class, one after another in this process."""
    monkeypatch.chdir(tmp_path)
    names = {}
    for code in CODE:
        if "class " not in code:
            exec(code.replace("seeds=3,\n)", 'seeds=2,\n    executor="inline",\n)'), names)
    assert set(names["run"].results["status"]) == {"ok"}
    assert len(names["again"].estimators) == 4
    assert names["z"].shape == names["logits"].shape
    assert {path.name for path in tmp_path.glob("*")} >= {"variance.pdf", "report", ".estbench"}


@pytest.mark.long
def test_the_examples_run_as_a_script(tmp_path):
    """In a script without a guard for its main part, whose own class reaches the workers of the local executor."""
    assert len(CODE) == TEXT.count("```python")
    script = tmp_path / "script.py"
    # worker processes are for the own class alone
    code = "\n".join([*CODE, FACTS]).replace("seeds=3,\n)", 'seeds=3,\n    executor="inline",\n)')
    script.write_text(code.replace("seeds=1)", 'seeds=1, executor="local[workers=2]")'))
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "disarm" in done.stdout
    assert done.stderr == ""
    assert {path.name for path in tmp_path.glob("*")} >= {"variance.pdf", "report", ".estbench"}
