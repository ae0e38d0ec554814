"""Fits LaTeX tables into a paper's column without scaling: names and headings wrap, columns go below one another."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from estbench.report.text.formatting import latex
from estbench.report.text.tables import Heading, TableCell
from estbench.report.text.widths import text_width

# a column of a paper in two columns, in points; what fits here also fits a text width of 345 points
COLUMN = 252.0
# the size of all letters but superscripts, and the space on each side of a column, in points
SIZE, GAP = 8.0, 3.0
# the superscripts of values, which mean what these signs mean in a terminal
MARKS = {"close": "=", "tied": "~"}
# how many rows fit into one float of a page
_LINES = 40
# the shares of the width that names and a column of values may take at most
_NAMES, _VALUES = 0.38, 0.55


@dataclass(frozen=True)
class Column:
    """One column of a LaTeX table.

    Args:
        heading: the lines of its heading, as plain text.
        cells: its cells, as LaTeX.
        width: an upper bound of its width in points.
        signs: its marks, and ``±`` if any value has an interval.
    """

    heading: Sequence[str]
    cells: Sequence[str]
    width: float
    signs: frozenset[str]


def points(text: str) -> float:
    """An upper bound of a text's width in points.

    It is the width in DejaVu Sans, which is wider than the fonts of papers: a digit is 0.64 em there, 0.53 em in
    Computer Modern of 8 points, 0.59 em in its bold, and 0.5 em in Times.
    """
    return text_width(text, SIZE)


def column(heading: Heading, cells: Sequence[TableCell], width: float) -> Column:
    """A column whose heading wraps to about the width of its cells.

    Args:
        heading: the heading.
        cells: one a row.
        width: the width of the page's column in points.
    """
    texts = [cell.brief + MARKS.get(cell.mark, "") for cell in cells]
    values = max(map(points, texts), default=0.0)
    lines = wrapped(heading.title, values, _VALUES * width)
    signs = frozenset([*(cell.mark for cell in cells), *("±" for text in texts if "±" in text)])
    return Column(lines, [_cell(cell) for cell in cells], max([values, *map(points, lines)]), signs)


def _cell(cell: TableCell) -> str:
    text = _number(cell.brief)
    text = rf"\textbf{{{text}}}" if cell.mark == "best" else text
    return text + superscript(MARKS.get(cell.mark, ""))


def _number(text: str) -> str:
    """A number with its power of ten as papers write it."""
    return re.sub(r"(?<=[\d)])e(?:(\$-)\$)?(\d+)", _power, latex(text))


def _power(found: re.Match[str]) -> str:
    return rf"$\times10^{{{'-' if found[1] else ''}{found[2]}}}$"


def wrapped(title: str, wanted: float, most: float) -> list[str]:
    """A title in lines that are as wide as wanted or its longest word; a word wider than ``most`` is cut."""
    words = [piece for word in title.split() for piece in _pieces(word, most)]
    room = max([wanted, *map(points, words)])
    lines: list[str] = []
    for word in words:
        if lines and points(f"{lines[-1]} {word}") <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines or [""]


def _pieces(word: str, most: float) -> Iterator[str]:
    piece = ""
    for sign in word:
        if piece and points(piece + sign) > most:
            yield piece
            piece = ""
        piece += sign
    yield piece


def breakable(text: str) -> str:
    """A text as LaTeX that may break after the punctuation of names, and within words that are long."""
    cut = re.sub(r"[^\s_,=/.\]]{15,}", lambda word: "\0".join(re.findall(".{1,10}", word[0])), text)
    places = re.split("\0|" + r"(?<=[_,=/.\]])(?=[^\s\d])", cut)
    return r"\hspace{0pt}".join(map(latex, places))


def stub(names: Iterable[str], width: float) -> float:
    """The width in points of the column of names; longer ones wrap."""
    return min(max(map(points, names), default=0.0), _NAMES * width)


def name(text: str, mark: str, room: float) -> str:
    """A name as LaTeX with its superscript, in several lines where it does not fit."""
    if points(text + mark) <= room:
        return latex(text) + superscript(mark)
    return rf"\parbox[t]{{{room:.1f}pt}}{{\raggedright {breakable(text)}{superscript(mark)}\strut}}"


def superscript(mark: str) -> str:
    """A raised mark; nothing if it is empty."""
    return rf"\textsuperscript{{{latex(mark)}}}" if mark else ""


def panels(columns: Sequence[Column], names: float, width: float) -> list[list[Column]]:
    """The columns in groups that fit the width beside the names, each group below the one before."""
    found: list[list[Column]] = []
    room = 0.0
    for each in columns:
        needed = 2 * GAP + each.width
        if not found or needed > room:
            found.append([])
            room = width - names
        found[-1].append(each)
        room -= needed
    return found


def floats(groups: Sequence[list[Column]], rows: int) -> list[list[list[Column]]]:
    """The groups of columns that stand in one float each, so that no float is higher than a page."""
    each = max(1, _LINES // (rows + 3))
    return [list(groups[i : i + each]) for i in range(0, len(groups), each)]
