"""The grammar of specifications: names, and options whose values are bare words, quoted text or lists in brackets.

The meaning of a word depends on the type of its option, so parsing keeps the words; ``by_look`` interprets words of an
option without a declared type.
"""

import math
import re
import sys
from dataclasses import dataclass
from typing import Any, TypeAlias

from estbench.errors import UserError, plain, shorten

CLOSING = {"(": ")", "[": "]"}
QUOTES = ("'", '"')
_NUMBERED = re.compile(r"\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})")
# lists of lists are rare, and very deep ones are a mistake
DEEPEST = 8


@dataclass(frozen=True)
class Word:
    """Text without quotes: ``4``, ``0.5``, ``200 200`` or ``adam``."""

    text: str


@dataclass(frozen=True)
class Quoted:
    """Text in quotes, which is never interpreted as a number or another value."""

    text: str


@dataclass(frozen=True)
class Bracketed:
    """A list in round or square brackets.

    Args:
        text: the list as it was written.
        items: the items of the list.
    """

    text: str
    items: tuple["Token", ...]


Token: TypeAlias = Word | Quoted | Bracketed


def by_look(token: Token) -> Any:
    """The value that words look like: a truth value, a number, ``None``, a tuple, or else text."""
    if isinstance(token, Bracketed):
        return tuple(by_look(item) for item in token.items)
    return _scalar(token.text) if isinstance(token, Word) else token.text


def _scalar(text: str) -> Any:
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    if text == "None":
        return None
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        # NaN is not equal to itself, so it is kept as a word
        return text if math.isnan(value) else value
    return text


def written(value: Any) -> str:
    """Writes a value so that ``by_look`` reads the same value."""
    if isinstance(value, list | tuple):
        return f"({','.join(_inside(each) for each in value)})"
    if isinstance(value, str):
        return value if _is_bare(value) else _quoted(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _inside(value: Any) -> str:
    """Like ``written``, inside a list, where round brackets and empty text need quotes too."""
    if isinstance(value, str) and (not value or set("()").intersection(value)):
        return _quoted(value)
    return written(value)


def _is_bare(text: str) -> bool:
    marked = text[:1] in (*QUOTES, *CLOSING) or set(",[]=").intersection(text)
    plain_text = text == text.strip() and text.isprintable() and not marked
    return not text or (plain_text and isinstance(_scalar(text), str))


def _quoted(text: str) -> str:
    quote = '"' if "'" in text and '"' not in text else "'"
    return quote + "".join(map(_escaped, text.replace("\\", "\\\\").replace(quote, f"\\{quote}"))) + quote


def _escaped(sign: str) -> str:
    """A character as written in quotes; an unprintable one, which could control a terminal, by its number."""
    if sign.isprintable():
        return sign
    return f"\\u{ord(sign):04x}" if ord(sign) < 0x10000 else f"\\U{ord(sign):08x}"


def shown(text: str) -> str:
    """Received text for a message: printable and shortened."""
    return repr(shorten(plain(text), 120))


class Reader:
    """A parser that reads a text from left to right.

    Args:
        text: the text.
    """

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    @property
    def next(self) -> str:
        """The next character; empty at the end."""
        return self.text[self.at : self.at + 1]

    def until(self, ends: str) -> str:
        """The text up to the next of these characters, without surrounding spaces."""
        start = self.at
        while self.next and self.next not in ends:
            self.at += 1
        return self.text[start : self.at].strip()

    def spaces(self) -> None:
        """Skips spaces."""
        while self.next.isspace():
            self.at += 1

    def axes(self) -> dict[str, list[Token]]:
        """The options in square brackets, whose opening bracket was read; the values of each.

        Raises:
            UserError: they are not well-formed.
        """
        axes: dict[str, list[Token]] = {}
        key = ""
        while not self._closed("]"):
            if found := self._key():
                key = found
                if key in axes:
                    raise UserError(
                        f"option {shown(key)} is given twice in {shown(self.text)}; write {plain(key)}=a,b for a grid"
                    )
                axes[key] = []
            start = self.at
            value = self.value("]", 0)
            if not key:
                got = self.text[start : self.at].strip()
                raise UserError(f"expected key=value in the brackets; got {shown(got)} in {shown(self.text)}")
            axes[key].append(value)
        return axes

    def _key(self) -> str:
        """The name of an option if one stands here, with what it is followed by read."""
        start = self.at
        key = self.until("=,[]'\"(")
        if self.next == "=":
            if not key:
                raise UserError(f"an option has no name in {shown(self.text)}; expected key=value in the brackets")
            self.at += 1
            return key
        self.at = start
        return ""

    def _closed(self, end: str) -> bool:
        """Whether the list ends here; goes past commas and the bracket."""
        while self.next == "," or self.next.isspace():
            self.at += 1
        if not self.next:
            raise UserError(f"expected name or name[key=value,...]; a closing {end} is missing in {shown(self.text)}")
        closed = self.next == end
        self.at += closed
        return closed

    def value(self, end: str, depth: int) -> Token:
        """A value up to a comma or the bracket that ends the list.

        Raises:
            UserError: it is not well formed.
        """
        self.spaces()
        start = self.at
        if self.next in QUOTES:
            token: Token = Quoted(self._quote())
        elif self.next in CLOSING:
            token = Bracketed(*self._group(start, depth + 1))
        else:
            token = Word(self.until(f",{end}" if end == ")" else ",[]"))
        self.spaces()
        if self.next and self.next not in f",{end}":
            raise UserError(
                f"expected a comma or {end} after {shown(self.text[start : self.at])}; got {shown(self.text)}"
            )
        return token

    def _group(self, start: int, depth: int) -> tuple[str, tuple[Token, ...]]:
        if depth > DEEPEST:
            raise UserError(f"lists may be nested {DEEPEST} deep at most; got {shown(self.text)}")
        end = CLOSING[self.next]
        self.at += 1
        items = []
        while not self._closed(end):
            items.append(self.value(end, depth))
        return self.text[start : self.at], tuple(items)

    def _quote(self) -> str:
        quote, start, found = self.next, self.at, ""
        self.at += 1
        while self.next != quote:
            if not self.next:
                raise UserError(f"expected a closing {quote} in {shown(self.text[start:])}")
            if numbered := _NUMBERED.match(self.text, self.at):
                found += chr(min(int(numbered[1] or numbered[2], 16), sys.maxunicode))
                self.at = numbered.end()
                continue
            self.at += self.text[self.at : self.at + 2] in ("\\\\", f"\\{quote}")
            found += self.next
            self.at += 1
        self.at += 1
        return found
