"""What ``import estbench`` costs."""

import subprocess
import sys

import pytest

HEAVY = {
    "jinja2",
    "matplotlib",
    "numpy",
    "pandas",
    "pyarrow",
    "pydantic",
    "ray",
    "rich",
    "scipy",
    "seaborn",
    "torch",
    "tqdm",
    "typer",
}


def modules(code):
    """The top-level modules that a process has after it ran some code."""
    code = f"{code}; import sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(subprocess.check_output([sys.executable, "-c", code], text=True).split())


def test_to_import_estbench_imports_nothing_heavy():
    """Neither torch nor pandas nor another dependency: so it takes milliseconds, on any machine."""
    assert "estbench" in modules("import estbench; dir(estbench)")
    assert not modules("import estbench; dir(estbench)") & HEAVY


@pytest.mark.parametrize("name", ["Spec", "UserError"])
def test_names_without_tensors_do_without_torch(name):
    """A specification and an error can be used by programs that never import torch."""
    assert "torch" not in modules(f"from estbench import {name}")
