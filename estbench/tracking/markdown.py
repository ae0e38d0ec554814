"""What the gate found, as a table in Markdown."""

import math
from collections import Counter
from collections.abc import Sequence

from estbench.tracking.tracked_values import TrackedValue
from estbench.tracking.verdicts import VERDICTS, Finding

_LISTED = 200


def markdown(findings: Sequence[Finding], base: str, head: str, machines: Sequence[str] = ()) -> str:
    """A table of everything that is not the same, after a line of counts, and one of machines that differ."""
    counts = Counter(finding.verdict for finding in findings)
    summary = (
        ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict]) or "nothing to compare"
    )
    lines = [f"{code(base)} → {code(head)}: {summary}.", ""]
    if len(set(machines)) > 1:
        lines += [f"Measured on {code(machines[0])} and {code(machines[1])}: times of two machines do not compare.", ""]
    shown = [finding for finding in findings if finding.verdict != "same"]
    if shown:
        lines += [
            "| verdict | benchmark | of | base | head | ratio | p |",
            "| --- | --- | --- | --: | --: | --: | --: |",
        ]
        lines += [_row(finding) for finding in shown[:_LISTED]]
    if len(shown) > _LISTED:
        lines.append(f"\n{len(shown) - _LISTED} more are left out.")
    return "\n".join(lines) + "\n"


def _row(finding: Finding) -> str:
    place = [finding.key.place] if finding.key.place else []
    who = ", ".join(code(part) for part in (*finding.key.parameters, *place)) or "–"
    bold = f"**{finding.verdict}**" if finding.verdict in VERDICTS[:3] else finding.verdict
    cells = [bold, code(finding.key.benchmark), who, _cell(finding.base), _cell(finding.head)]
    return f"| {' | '.join([*cells, _number(finding.ratio, '.3f'), _number(finding.p, '.1e')])} |"


def _cell(tracked: TrackedValue | None) -> str:
    if tracked is None:
        return "–"
    return _number(tracked.value, ".4g") if tracked.status == "ok" else code(tracked.error or tracked.status)


def _number(value: float, style: str) -> str:
    return "–" if math.isnan(value) else format(value, style)


def code(text: str) -> str:
    """Text of unknown origin as a code span, in which neither markup, links, mentions nor table bars work."""
    plain = "".join(c if c.isprintable() and c not in "`|\\" else "�" for c in " ".join(text.split()))
    return f"`{plain[:120] or '�'}`"
