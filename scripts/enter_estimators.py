"""Enters new estimators into the lists: run ``make enter`` after adding a file to ``estimators/``.

It appends their names to ``benchmarks/manifest.py``, on whose order asv relies, and a row for each to
``docs/reference/estimators.md``, made from what the class declares. Further checks of an estimator are written into its
row by hand.
"""

# ruff: noqa: INP001, T201  (a script, which says what it has written)

import re
from pathlib import Path

from estbench import discover
from estbench.plugins.plugin import Plugin

ROOT = Path(__file__).parent.parent
MANIFEST, PAGE = ROOT / "benchmarks" / "manifest.py", ROOT / "docs" / "reference" / "estimators.md"


def appended(text: str, names: list[str]) -> str:
    """The manifest with names at the end of its estimators."""
    start = text.index("ESTIMATORS = (")
    end = text.index("\n)", start)
    return text[:end] + "".join(f'\n    "{name}",' for name in names) + text[end:]


def row(plugin: Plugin) -> str:
    """A row of the page's tables."""
    cls = plugin.load()
    types = " ".join(kind.__name__[0] for kind in cls.accepts)
    found = re.search(r"([^.\n]+?) evaluations?\b", plugin.doc)
    evaluations, derivative = found[1].strip() if found else "", "f'" if cls.differentiates else ""
    paper = cls.paper.partition(", http")[0]
    cells = [f"`{plugin.name}`", types, evaluations, derivative, "", "not run", paper]
    return re.sub(r"  +", " ", f"| {' | '.join(cells)} |")


def entered(page: str, plugin: Plugin) -> str:
    """The page with a row at the end of the table that an estimator belongs to."""
    heading = "## Unbiased" if plugin.load().unbiased else "## Biased"
    tables = re.compile(r"(?:^\|.*\n)+", re.MULTILINE)
    table = tables.search(page, page.index(heading))
    if table is None:
        raise ValueError(f"{PAGE} has no table below {heading!r}")
    return f"{page[: table.end()]}{row(plugin)}\n{page[table.end() :]}"


def main() -> None:
    """Enters all that are missing."""
    built_in = [plugin for plugin in discover("estimator").plugins.values() if plugin.origin == "built-in"]
    manifest, page = MANIFEST.read_text(encoding="utf-8"), PAGE.read_text(encoding="utf-8")
    for plugin in built_in:
        if f'"{plugin.name}",' not in manifest:
            manifest = appended(manifest, [plugin.name])
            print(f"{MANIFEST.relative_to(ROOT)}: {plugin.name}")
        if f"| `{plugin.name}` |" not in page:
            page = entered(page, plugin)
            print(f"{PAGE.relative_to(ROOT)}: {plugin.name}")
    MANIFEST.write_text(manifest, encoding="utf-8")
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
