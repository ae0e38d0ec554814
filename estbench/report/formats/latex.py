"""Tables for papers, and the estimators' references as BibTeX."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from estbench.core.metrics import Quantity
from estbench.errors import UserError, nearest, plain
from estbench.report.formats import latex_layout as layout
from estbench.report.formats.latex_layout import COLUMN, GAP, SIZE, Column, breakable, superscript
from estbench.report.model.display import display_names
from estbench.report.model.rows import given_in
from estbench.report.model.study import Study
from estbench.report.text.formatting import latex, slug
from estbench.report.text.tables import Table, TableRow, table

_PAPER = re.compile(r"(?P<authors>[^;()]+) \((?P<year>\d{4})\), (?P<address>https?://[^\s;]+)")


_MEANING = {
    "best": r"Bold: best",
    "close": rf"{superscript('=')} equally good, within 5 \% of the best (objectives: 1 \%)",
    "tied": rf"{superscript('~')} not told apart from the best, but it may be worse",
}


def render(study: Study, columns: Sequence[str] | None = None, width: float = COLUMN) -> str:
    """Tables for the package booktabs, one for each task, in letters of 8 points that need no scaling.

    Args:
        study: the results.
        columns: the keys of the columns, in their order; by default those that every table has.
        width: the width in points of the column or page that they stand in. Columns that do not fit side by side stand
            below one another.

    Raises:
        UserError: a column is unknown, or none is named.
    """
    if columns is not None:
        check_columns(study, columns)
    found = [_table(study, task, i, columns, width) for i, task in enumerate(study.tasks, 1)]
    return "\n".join(filter(None, found))


def check_columns(study: Study, columns: Sequence[str]) -> None:
    """Checks that some column is named, and that a table can have each.

    Raises:
        UserError: one is unknown, or there is none.
    """
    known = [quantity.key for quantity in study.quantities]
    if not columns:
        raise UserError(f"name at least one column of {', '.join(known)}; got none")
    for key in columns:
        if key not in known:
            raise UserError(f"these results have no column {key!r}; {nearest(key, known)}")


def _table(study: Study, task: str, number: int, columns: Sequence[str] | None, width: float) -> str:
    """The floats of a task; empty if it has none of the columns."""
    shown = _shown(study.quantities_of(task), columns)
    if not shown:
        return ""
    found = table(study, task, shown)
    names = display_names([row.label for row in found.rows])
    letters = _letters(found)
    titles = [_title(row, names) for row in found.rows]
    marks = [letters.get(row.declared, "") for row in found.rows]
    room = layout.stub([title + mark for title, mark in zip(titles, marks, strict=True)], width)
    firsts = [layout.name(title, mark, room) for title, mark in zip(titles, marks, strict=True)]
    cells = zip(*[row.cells for row in found.rows], strict=True)
    values = [layout.column(heading, each, width) for heading, each in zip(found.headings, cells, strict=True)]
    groups = layout.panels(values, room, width)
    parts = layout.floats(groups, len(found.rows))
    notes = [_notes(study, found, part, names, letters) for part in parts]
    return "\n".join(
        _float(found, part, firsts, (_caption(study, task, i), f"{number}{i or ''}", text))
        for i, (part, text) in enumerate(zip(parts, notes, strict=True))
    )


def _caption(study: Study, task: str, place: int) -> str:
    return latex(study.display[task]) + (" (continued)" if place else "")


def _shown(there: Sequence[Quantity], columns: Sequence[str] | None) -> list[Quantity]:
    """The chosen columns, or else those of every table."""
    if columns is None:
        return [quantity for quantity in there if quantity.declared.show == "main"]
    by_key = {quantity.key: quantity for quantity in there}
    return [by_key[key] for key in dict.fromkeys(columns) if key in by_key]


def _title(row: TableRow, names: Mapping[str, str]) -> str:
    return f"{names[row.label]} (reference)" if row.reference else names[row.label]


def _letters(found: Table) -> dict[str, str]:
    """The superscript of each declaration but ``unbiased``, where it is known what estimators declare."""
    words = dict.fromkeys(row.declared for row in found.rows if row.declared != "unbiased") if found.declares else {}
    return {each: chr(ord("a") + i) for i, each in enumerate(words)}


def _float(found: Table, parts: Sequence[list[Column]], firsts: Sequence[str], texts: tuple[str, str, str]) -> str:
    """One float with groups of columns below one another."""
    caption, number, notes = texts
    return "\n".join([
        r"% \usepackage{booktabs}",
        *[f"% {latex(heading.quantity.key)}: {latex(heading.title)}" for heading in found.headings],
        r"\begin{table}",
        rf"  \fontsize{{{SIZE:g}}}{{{SIZE * 1.2:.1f}}}\selectfont\setlength{{\tabcolsep}}{{{GAP:g}pt}}",
        r"  \centering",
        rf"  \caption{{{caption}}}",
        rf"  \label{{tab:{number}-{slug(found.task)}}}",
        "  \\par\\medskip\n".join(_panel(found, part, firsts) for part in parts) + r"  \par\smallskip",
        rf"  \raggedright {notes}\par",
        r"\end{table}",
        "",
    ])  # fmt: skip


def _panel(found: Table, columns: Sequence[Column], firsts: Sequence[str]) -> str:
    heads = [latex(each.heading[0]) if len(each.heading) == 1 else _stack(each.heading) for each in columns]
    lines = [_line([first, *[each.cells[i] for each in columns]]) for i, first in enumerate(firsts)]
    contestants = sum(not row.reference for row in found.rows)
    rule = [r"\midrule"] if 0 < contestants < len(lines) else []
    body = [
        rf"\begin{{tabular}}{{@{{}}l{'r' * len(columns)}@{{}}}}",
        r"  \toprule",
        f"  {_line(['', *heads])}",
        *[f"  {line}" for line in (r"\midrule", *lines[:contestants], *rule, *lines[contestants:])],
        r"  \bottomrule",
        r"\end{tabular}",
    ]
    return "".join(f"  {line}\n" for line in body)


def _stack(lines: Sequence[str]) -> str:
    joined = r"\\".join(map(latex, lines))
    return rf"\shortstack[r]{{{joined}}}"


def _notes(
    study: Study, found: Table, part: Sequence[list[Column]], names: Mapping[str, str], letters: Mapping[str, str]
) -> str:
    """What stands below a table: the meaning of its signs, the options, the remarks, and what went wrong."""
    used = frozenset[str]().union(*[each.signs for group in part for each in group])
    width = [r"$\pm$: half the width of the 95 \% interval."] if "±" in used else []
    marks = [text for mark, text in _MEANING.items() if mark in used]
    rest = ["otherwise declared unbiased"] if any(row.declared == "unbiased" for row in found.rows) and letters else []
    declared = [
        *[f"{superscript(letter)} {_declares(words)}" for words, letter in letters.items()],
        *(rest or (["All are declared unbiased"] if found.declares and not letters else [])),
    ]
    groups = [f"{'; '.join(group)}." for group in (marks, declared) if group]
    texts = [*_options(study, found, names), *found.remarks]
    texts += _troubles(found, names)
    return " ".join([*width, *groups, *map(breakable, texts)])


def _troubles(found: Table, names: Mapping[str, str]) -> list[str]:
    """What went wrong, each reason once with all whom it stopped."""
    reasons = defaultdict[str, list[str]](list)
    for row in found.rows:
        for note in row.notes:
            reasons[note].append(names[row.label])
    return [f"{', '.join(who)}: {note.removesuffix('.')}." for note, who in reasons.items()]


def _declares(words: str) -> str:
    return f"declared {latex(words)}" if words else "declares nothing"


def _options(study: Study, found: Table, names: Mapping[str, str]) -> list[str]:
    """The options that the short names of the task and of its estimators leave out, once each."""
    own = [found.task] if study.display[found.task] != found.task else []
    left = dict.fromkeys(filter(None, (_left_out(label, short) for label, short in names.items())))
    return [f"{title}: {'; '.join(texts)}." for title, texts in (("Task", own), ("Options", left)) if texts]


def _left_out(label: str, short: str) -> str:
    """An estimator with those of its options that its short name does not say: ``rloo (samples=4)``."""
    missing = [f"{key}={value}" for key, value in given_in(label).items() if f"{key}={value}" not in short]
    return f"{label.partition('[')[0]} ({', '.join(missing)})" if missing and short != label else ""


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


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
