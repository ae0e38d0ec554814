"""Figures as files."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from estbench.report import svg

FORMATS = ("svg", "png", "pdf")


def check_formats(formats: Sequence[str]) -> None:
    """Refuses what figures are not written as.

    Raises:
        ValueError: a format is unknown.
    """
    unknown = [form for form in formats if form not in FORMATS]
    if unknown:
        raise ValueError(f"the formats are {', '.join(FORMATS)}; got {', '.join(unknown)}")


def save(figure: Figure, folder: Path, name: str, formats: Sequence[str]) -> list[Path]:
    """Writes a figure in several formats; to be called under the settings it was drawn with."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{name}.{form}" for form in formats]
    for file in files:
        # no date inside: the same results give the same files
        about = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(file.suffix[1:], {})
        figure.savefig(file, dpi=160, metadata=about)
        # the layout is the same in all formats, and making it takes longer than drawing
        figure.set_layout_engine("none")
        if file.suffix == ".svg":
            file.write_text(svg.tidy(file.read_text(encoding="utf-8"), name), encoding="utf-8")
    return files
