"""What several tests use."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
WRONG = ROOT / "tests" / "testing" / "wrong"


def example(page, name):
    """The block of code behind the comment ``<!-- test: NAME -->`` of a page of the repository."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.search(rf"<!-- test: {name} -->\n```\w+\n(.*?)```", text, re.DOTALL).group(1)


# seconds that a process may take before it counts as hanging; a busy machine takes many times what a quiet one does
PATIENCE = 1000
