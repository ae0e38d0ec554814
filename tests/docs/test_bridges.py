"""The page on bridges: its examples run."""

import re
from pathlib import Path

import torch

from tests.bridges import compared

TEXT = (Path(__file__).parents[2] / "docs/how-to/bridges.md").read_text(encoding="utf-8")
CODE = re.findall(r"<!-- test: [\w-]+ -->\n```python\n(.*?)```", TEXT, re.DOTALL)


def test_the_examples_run():
    """Each example makes an estimator that gives a finite gradient."""
    assert len(CODE) == 2
    for code in CODE:
        names = {}
        exec(code, names)
        torch.manual_seed(0)
        assert compared.gradients(names["estimator"], "classes", 4).isfinite().all()
