"""Tables for papers, and the estimators' references as BibTeX."""

import re
from collections.abc import Mapping
from typing import Any

from estbench.errors import plain
from estbench.report.model.study import Study
from estbench.report.text.formatting import latex, slug
from estbench.report.text.tables import Table, TableCell, TableRow, table

_PAPER = re.compile(r"(?P<authors>[^;()]+) \((?P<year>\d{4})\), (?P<address>https?://[^\s;]+)")


_LEGEND = (
    r"Bold: best; italic: equally good, within 5 \% (objectives: 1 \%); underlined: not told apart from the best, but "
    "it may be worse."
)


def render(study: Study) -> str:
    """A ``table`` for each task, for the package booktabs."""
    return "\n".join(_table(table(study, task), i) for i, task in enumerate(study.tasks, 1))


def _table(found: Table, number: int) -> str:
    shown = [i for i, heading in enumerate(found.headings) if heading.quantity.shown]
    bias = ["declared"] if found.declares else []
    titles = ["", *bias, *[latex(found.headings[i].title) for i in shown]]
    lines = _body(found, shown, len(bias))
    notes = [rf"\item {latex(row.label)}: {latex(note)}" for row in found.rows for note in row.notes]
    remarks = "".join(f" {latex(remark)}" for remark in found.remarks)
    reasons = [r"\begin{itemize}\footnotesize", *notes, r"\end{itemize}"] if notes else []
    return "\n".join([
        r"% \usepackage{booktabs,graphicx}",
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{latex(found.task)}. {_LEGEND}{remarks}}}",
        rf"  \label{{tab:{number}-{slug(found.task)}}}",
        r"  \resizebox{\linewidth}{!}{%",
        rf"  \begin{{tabular}}{{l{'l' * len(bias)}{'r' * len(shown)}}}",
        r"    \toprule",
        f"    {_line(titles)}",
        r"    \midrule",
        *[f"    {line}" for line in lines],
        r"    \bottomrule",
        r"  \end{tabular}}",
        *reasons,
        r"\end{table}",
        "",
    ])  # fmt: skip


def _body(found: Table, shown: list[int], bias: int) -> list[str]:
    """The rows of the table; references stand below a rule."""
    contestants, references = ([row for row in found.rows if row.reference == kind] for kind in (False, True))
    rule = [r"\midrule"] if contestants and references else []
    return [
        *[_row(row, shown, bias) for row in contestants],
        *rule,
        *[_row(row, shown, bias) for row in references],
    ]


def _row(row: TableRow, shown: list[int], bias: int) -> str:
    return _line([*map(latex, [row.title, row.declared][: 1 + bias]), *[_cell(row.cells[i]) for i in shown]])


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cell(cell: TableCell) -> str:
    text = _number(cell.text)
    command = {"best": r"\textbf", "close": r"\textit", "tied": r"\underline"}.get(cell.mark)
    text = f"{command}{{{text}}}" if command else text
    return rf"{text} {{\scriptsize ({_number(cell.interval)})}}" if cell.interval else text


def _number(text: str) -> str:
    """A number with its power of ten as papers write it."""
    return re.sub(r"(?<=\d)e(?:(\$-)\$)?(\d+)", _power, latex(text))


def _power(found: re.Match[str]) -> str:
    return rf"$\times10^{{{'-' if found[1] else ''}{found[2]}}}$"


def citations(study: Study, environment: Mapping[str, Any]) -> str:
    """BibTeX of the papers of the estimators in the results, from ``papers`` of the environment.

    Papers are written "Authors (year), address; ..."; a text of another form becomes a note.
    """
    papers = {plain(name): plain(paper) for name, paper in dict(environment.get("papers") or {}).items()}
    used = dict.fromkeys(study.rows["estimator"])
    entries: dict[str, str] = {}
    for name in used:
        for part in filter(None, papers.get(name, "").split("; ")):
            entries.setdefault(part, _entry(f"{slug(name)}-{len(entries) + 1}", part))
    return "\n".join(entries.values())


def _entry(key: str, paper: str) -> str:
    found = _PAPER.fullmatch(paper)
    if not found:
        return f"@misc{{{key},\n  note = {{{latex(paper)}}},\n}}\n"
    authors = re.sub(r",? & |, ", " and ", found["authors"])
    lines = {
        "author": latex(authors),
        "year": found["year"],
        "howpublished": rf"\url{{{_address(found['address'])}}}",
    }
    return f"@misc{{{key},\n" + "".join(f"  {field} = {{{value}}},\n" for field, value in lines.items()) + "}\n"


def _address(address: str) -> str:
    """An address whose characters cannot end the braces of its command."""
    return re.sub(r"[\\{}^\"<>|`]", lambda sign: f"%{ord(sign[0]):02X}", address)
