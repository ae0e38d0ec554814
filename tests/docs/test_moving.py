"""The page for users of other libraries: its example runs."""

import re
from pathlib import Path

TEXT = (Path(__file__).parents[2] / "docs/how-to/moving.md").read_text(encoding="utf-8")


def test_the_example_runs():
    """The step leaves a finite gradient in the logits."""
    (code,) = re.findall(r"<!-- test: moving -->\n```python\n(.*?)```", TEXT, re.DOTALL)
    names = {}
    exec(code, names)
    assert names["logits"].grad.isfinite().all()
    assert names["logits"].grad.abs().max() > 0
