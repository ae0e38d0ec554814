"""Published results beside measured ones, as tables and sentences."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from estbench.report.model.protocol_match import NO_OPTION, ProtocolPart
from estbench.report.model.published_match import Match, Matches, PublishedModel, matches
from estbench.report.model.study import Study
from estbench.report.text.formatting import MISSING, decimals_for, fixed, listing

COLUMNS = ("estimator", "in the paper", "measured", "published", "difference", "what differs for it")


@dataclass(frozen=True)
class Block:
    """One published table beside a task's values.

    Args:
        title: paper, place and model.
        metric: what the values are, in the paper's words.
        link: the paper's address.
        lines: sentences on the protocols.
        rows: a row an estimator, under ``COLUMNS``.
        comparable: whether the protocols agree for one of them.
    """

    title: str
    metric: str
    link: str
    lines: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    comparable: bool


@dataclass(frozen=True)
class PublishedText:
    """The tables and sentences on a task's published results; empty if there are none."""

    blocks: tuple[Block, ...]
    lines: tuple[str, ...]

    @property
    def comparable(self) -> bool:
        """Whether the protocols agree anywhere."""
        return any(block.comparable for block in self.blocks)


def published(study: Study, task: str) -> PublishedText:
    """The blocks of a task, and sentences on what is left out."""
    found = matches(study, task)
    return PublishedText(tuple(map(_block, found.groups)), tuple(_left_out(found)))


def _left_out(found: Matches) -> list[str]:
    lines = []
    if found.elsewhere:
        others = listing(list(found.elsewhere))
        lines.append(f"Published results of this task on other data sets ({others}) are left out.")
    if found.more:
        count = f"{found.more} more published table{'s' if found.more > 1 else ''}"
        lines.append(f"{count}, of protocols less like this one, can be seen with “estbench published”.")
    return lines


def _block(group: PublishedModel) -> Block:
    first = group.first
    comparable = any(pair.comparable for pair in group.pairs)
    lines = [*_said(group.common, "Not the same protocol, so no difference is given"), *_unstated(group.common)]
    if comparable:
        lines.insert(0, "The protocols agree in all that the paper states.")
    rows = tuple(_row(group, pair) for pair in group.pairs)
    title = f"{first.paper}, {first.table}: {first.setting}"
    return Block(title, first.metric_published, group.protocol.link, (*lines, *group.protocol.notes), rows, comparable)


def _said(parts: Sequence[ProtocolPart], lead: str) -> list[str]:
    apart = [_apart(part) for part in parts if part.verdict == "differs"]
    unknown = [f"{part.name} (published {part.there})" for part in parts if part.verdict == "not recorded"]
    if unknown:
        apart.append(f"the run does not record {', '.join(unknown)}")
    return [f"{lead}: {'; '.join(apart)}."] if apart else []


def _apart(part: ProtocolPart) -> str:
    if part.verdict == "not stated":
        return f"{part.name} {part.here} here, not stated in the paper"
    if part.here in {NO_OPTION, "not recorded"}:
        return f"{part.name} {part.there} published, {part.here} here"
    return f"{part.name} {part.here} here, {part.there} published"


def _unstated(parts: Sequence[ProtocolPart]) -> list[str]:
    open_ = [f"{part.name} ({part.here} here)" for part in parts if part.verdict == "not stated"]
    return [f"The paper does not state: {', '.join(open_)}."] if open_ else []


def _row(group: PublishedModel, pair: Match) -> tuple[str, ...]:
    own = group.own(pair)
    apart = [_apart(replace(part, name=part.name.rpartition(": ")[2])) for part in own if part.verdict != "same"]
    gap = _interval(*pair.difference, sign=True) if pair.comparable else MISSING
    spread = "" if math.isnan(pair.result.spread) else f" ± {pair.result.spread:g}"
    note = "; ".join([*apart, *([pair.result.note] if pair.result.note else [])])
    value, printed = _interval(pair.value, pair.low, pair.high), pair.result.printed.replace("-", "−")
    return pair.label, pair.result.estimator_published, value, f"{printed}{spread}", gap, note


def _interval(value: float, low: float, high: float, *, sign: bool = False) -> str:
    plus = "+" if sign and value > 0 else ""
    if not low < high:
        return f"{plus}{fixed(value, 2)} (one seed)"
    decimals = decimals_for(low, high)
    return f"{plus}{fixed(value, decimals)} ({fixed(low, decimals)} to {fixed(high, decimals)})"
