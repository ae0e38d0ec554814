"""What a notebook shows of a run: of each task the sentences, the main table, and what went wrong."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from estbench.report.text.tables import Table


def page(found: "Mapping[str, tuple[Table, Sequence[str]]]") -> str:
    """The HTML of tasks.

    Args:
        found: the main table and the sentences of each task.
    """
    parts = [
        f"<h4>{escape(task)}</h4>{_listed(sentences)}{_grid(table)}{_listed(table.notes)}"
        for task, (table, sentences) in found.items()
    ]
    return "".join(parts) or "<p>Nothing was measured.</p>"


def _listed(sentences: Iterable[str]) -> str:
    lines = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f"<ul>{lines}</ul>" if lines else ""


def _grid(table: "Table") -> str:
    from estbench.report.text.tables import SIGNS  # noqa: PLC0415  (slow)

    declares = ["declared"] if table.declares else []
    head = _cells("th", ["estimator", *declares, *(heading.title for heading in table.headings)])
    rows = [
        [row.title, *([row.declared] if declares else []), *(str(cell.text) + SIGNS[cell.mark] for cell in row.cells)]
        for row in table.rows
    ]
    body = "".join(f"<tr>{_cells('td', row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cells(tag: str, texts: Iterable[str]) -> str:
    return "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts)
