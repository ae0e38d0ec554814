"""The verdicts of checks."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Verdict:
    """The outcome of one check.

    Args:
        name: name of the check.
        verdict: the outcome.
        measured: what was measured, in words.
        reason: why it failed or does not apply; empty if it passed.
    """

    name: str
    verdict: Literal["passed", "failed", "not applicable"]
    measured: str = ""
    reason: str = ""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.name, self.verdict, self.reason or self.measured) if part)


class Fault(Exception):  # noqa: N818  (a finding, raised by a check and caught by the kit)
    """A check found a fault.

    Args:
        reason: the fault in one line.
        measured: what was measured, in words.
    """

    def __init__(self, reason: str, measured: str = "") -> None:
        super().__init__(reason)
        self.measured = measured


class Inapplicable(Exception):  # noqa: N818  (likewise)
    """A check does not apply; the message says why."""


def one_line(error: BaseException) -> str:
    """An error in one line: its type and the first line of its message."""
    first, *_ = str(error).strip().splitlines() or [""]
    return f"raises {type(error).__name__}: {first}"
