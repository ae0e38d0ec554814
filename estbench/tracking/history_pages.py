"""Histories in Markdown and as a page that works offline."""

import html
import math
from collections import Counter
from collections.abc import Iterator

from estbench.tracking.change_points import SHORTEST, ChangePoint
from estbench.tracking.history import STATES, History, HistoryFindings
from estbench.tracking.markdown import code

_WIDTH, _HEIGHT, _MARGIN = 640, 160, 8
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 44rem; padding: 0 1rem }
:root { color-scheme: light dark }
svg { width: 100%; height: auto; border: 1px solid color-mix(in srgb, currentColor 25%, transparent) }
circle { fill: currentColor } line, polyline { stroke: currentColor; fill: none } .change { stroke: #d33 }
code { overflow-wrap: anywhere } h2 { font-size: 1rem; margin-top: 2rem }
"""


def summary(history: History) -> str:
    """The counts of all states, and what was judged, in one sentence."""
    counts = Counter(each.state for each in history.found)
    listed = ", ".join(f"{counts[state]} {_SAID[state]}" for state in STATES if counts[state])
    since = f" since {history.since[:8]}" if history.since else ""
    left = f" {history.left_out} result files of other commits are left out." if history.left_out else ""
    return f"{len(history.found)} tracked values{since}: {listed}.{left}"


_SAID = {
    "regression": "got worse",
    "recovered": "got worse and recovered",
    "improvement": "improved",
    "unchanged": "did not change",
    "short": f"have fewer than {2 * SHORTEST} commits",
}


def markdown(history: History) -> str:
    """A table of all values that changed."""
    lines = [summary(history), ""]
    changed = [each for each in history.found if each.changes]
    if changed:
        lines += ["| state | benchmark | of | total | changes | p |", "| --- | --- | --- | --: | --- | --: |"]
    for each in changed:
        said = "; ".join(sentence(each, change) for change in each.changes)
        total = "–" if math.isnan(each.total) else f"{each.total:.3f}"
        state = f"**{each.state}**" if each.state == "regression" else each.state
        lines.append(f"| {state} | {code(each.series.key.benchmark)} | {_of(each)} | {total} | {said} | {each.p:.1e} |")
    return "\n".join(lines) + "\n"


def sentence(found: HistoryFindings, change: ChangePoint) -> str:
    """A change in words: when, and by how much."""
    commits, sizes = found.series.commits, f"{change.ratio:.3f} times ({change.low:.3f} to {change.high:.3f})"
    if change.kind == "drift":
        return f"drift from {commits[change.first][:8]} to {commits[change.last][:8]}: {sizes}"
    return f"step at {commits[change.first][:8]}: {sizes}"


def page(history: History) -> str:
    """One HTML file with a curve for every value that changed."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>History of tracked values</title>",
        "<meta name=viewport content='width=device-width,initial-scale=1'>",
        f"<style>{_STYLE}</style><h1>History of tracked values</h1><p>{html.escape(summary(history))}</p>",
        "<p>Curves are on a logarithmic scale, one point for each commit; lower is better. Red lines mark changes.</p>",
        *(part for each in history.found if each.changes for part in _section(each)),
    ]
    return "\n".join(parts) + "\n"


def _section(found: HistoryFindings) -> Iterator[str]:
    key = found.series.key
    yield f"<h2>{html.escape(found.state)}: <code>{html.escape(key.benchmark)}</code></h2>"
    yield f"<p>{html.escape(', '.join(filter(None, (*key.parameters, key.place))))}</p><ul>"
    yield from (f"<li>{html.escape(sentence(found, change))}" for change in found.changes)
    yield "</ul>"
    yield _curve(found)


def _curve(found: HistoryFindings) -> str:
    logs = [math.log(value) for value in found.series.values]
    low, high = min(logs), max(logs)
    wide, tall = _WIDTH - 2 * _MARGIN, _HEIGHT - 2 * _MARGIN

    def at(place: float) -> float:
        return _MARGIN + wide * place / (len(logs) - 1)

    points = [(at(n), _MARGIN + tall * (high - each) / ((high - low) or 1)) for n, each in enumerate(logs)]
    dots = "".join(
        f"<circle cx='{x:.1f}' cy='{y:.1f}' r=2.5><title>{commit[:8]}: {value:.5g}</title></circle>"
        for (x, y), commit, value in zip(points, found.series.commits, found.series.values, strict=True)
    )
    marks = "".join(
        f"<line class=change x1='{at(c.first - 0.5):.1f}' x2='{at(c.first - 0.5):.1f}' y1=0 y2={_HEIGHT} />"
        for c in found.changes
        if c.kind == "step"
    )
    label = html.escape(f"{found.series.key.benchmark}: {len(logs)} commits", quote=True)
    return f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' role=img aria-label='{label}'>{marks}{dots}</svg>"


def _of(found: HistoryFindings) -> str:
    place = [found.series.key.place] if found.series.key.place else []
    return ", ".join(code(part) for part in (*found.series.key.parameters, *place)) or "–"
