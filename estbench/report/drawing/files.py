"""Figures as files."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from estbench.report.drawing import svg

FORMATS = ("svg", "png", "pdf")


def check_formats(formats: Sequence[str]) -> None:
    """Refuses what figures are not written as.

    Raises:
        ValueError: a format is unknown, or there is none.
    """
    if not formats:
        raise ValueError(f"name at least one format of {', '.join(FORMATS)}; got none")
    unknown = [form for form in formats if form not in FORMATS]
    if unknown:
        raise ValueError(f"the formats are {', '.join(FORMATS)}; got {', '.join(unknown)}")


def save(figure: Figure, folder: Path, name: str, formats: Sequence[str]) -> list[Path]:
    """Writes a figure in several formats; to be called under the settings it was drawn with."""
    folder.mkdir(parents=True, exist_ok=True)
    # the layout is the same in all formats; savefig would draw everything once more in each, to make it again
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return [_WRITERS[form](figure, folder / f"{name}.{form}") for form in formats]


def _svg(figure: Figure, file: Path) -> Path:
    # no date inside: the same results give the same files
    FigureCanvasSVG(figure).print_svg(str(file), metadata={"Date": None})
    file.write_text(svg.tidy(file.read_text(encoding="utf-8"), file.stem), encoding="utf-8")
    return file


def _png(figure: Figure, file: Path) -> Path:
    figure.set_dpi(160)
    FigureCanvasAgg(figure).print_png(file)
    return file


def _pdf(figure: Figure, file: Path) -> Path:
    FigureCanvasPdf(figure).print_pdf(str(file), metadata={"CreationDate": None})
    return file


_WRITERS = {"svg": _svg, "png": _png, "pdf": _pdf}
