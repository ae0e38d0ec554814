"""Looks: the colour, dash and marker of each estimator, the same in all figures and on the page."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Okabe & Ito's palette without black and yellow, which can be distinguished with every kind of colour vision
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = (
    "-",
    (0, (4, 1.5)),
    (0, (1, 1)),
    (0, (5, 1, 1, 1)),
    (0, (8, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
    (0, (1, 3)),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
# the page replaces this colour by its own, light or dark
INK = "#1f2329"


# how later turns through the palette change its colours: towards black or white, and how far
_SHADES = ((0, 0.0), (0, 0.4), (255, 0.5), (0, 0.65), (255, 0.75), (0, 0.2), (255, 0.25))


@dataclass(frozen=True)
class Look:
    """An estimator's colour, dash and marker. A reference's is ink.

    No two of 42 estimators have one colour, and no two of 294 one colour and dash. Whether a marker is filled says
    something about a value, not which estimator it is of.
    """

    colour: str
    dash: Any
    marker: str
    reference: bool = False


def looks(
    labels: Sequence[str], families: Mapping[str, str], references: Collection[str] = frozenset()
) -> dict[str, Look]:
    """A look for each estimator; the marker is that of its family, if ``families`` (by label) contains it.

    References are drawn in ink, and take no colour from the others.
    """
    oracles = {
        label: Look(INK, DASHES[(1 + i) % len(DASHES)], MARKERS[i % len(MARKERS)], reference=True)
        for i, label in enumerate(each for each in labels if each in references)
    }
    labels = [label for label in labels if label not in oracles]
    kinds = sorted(set(families.values()))
    chosen = {}
    for i, label in enumerate(labels):
        turn = i // len(PALETTE)
        marker = kinds.index(families[label]) if label in families else turn
        dash = DASHES[(turn + turn // len(_SHADES)) % len(DASHES)]
        chosen[label] = Look(_shade(PALETTE[i % len(PALETTE)], turn), dash, MARKERS[marker % len(MARKERS)])
    return chosen | oracles


def _shade(colour: str, turn: int) -> str:
    end, share = _SHADES[turn % len(_SHADES)]
    channels = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(channel + share * (end - channel)):02x}" for channel in channels).upper()
