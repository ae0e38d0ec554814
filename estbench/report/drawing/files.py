"""Figures as files."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from estbench.report.drawing import svg
from estbench.store.files import write_atomically

FORMATS = ("svg", "png", "pdf")


def check_formats(formats: Sequence[str]) -> None:
    """Checks that figures can be written in these formats.

    Raises:
        ValueError: a format is unknown, or there is none.
    """
    if not formats:
        raise ValueError(f"name at least one format of {', '.join(FORMATS)}; got none")
    unknown = [form for form in formats if form not in FORMATS]
    if unknown:
        raise ValueError(f"the formats are {', '.join(FORMATS)}; got {', '.join(unknown)}")


@dataclass(frozen=True)
class FigureTarget:
    """Where figures go.

    Args:
        folder: made if it is not there.
        name: of the files, without a suffix; empty for that of the kind of figure.
        formats: their suffixes.
    """

    folder: Path
    name: str
    formats: Sequence[str]

    @classmethod
    def of(cls, out: Path, formats: Sequence[str] | None) -> "FigureTarget":
        """Takes a path for a folder, or for one file if it has the suffix of a format.

        Args:
            out: a folder, or a file such as ``curve.pdf``.
            formats: what was asked for; None for all, or the one of the file.

        Raises:
            ValueError: the suffix is of no format, or not that of the formats.
        """
        suffix = out.suffix.removeprefix(".").lower()
        if not suffix or out.is_dir():
            return cls(out, "", FORMATS if formats is None else formats)
        if suffix not in FORMATS:
            instead = "a folder that does not exist yet has no dot in its name"
            raise ValueError(f"figures are files of {', '.join(FORMATS)}, and {instead}; got {str(out)!r}")
        if formats is not None and [*formats] != [suffix]:
            raise ValueError(f"one file has one format; got the file {str(out)!r} and the formats {', '.join(formats)}")
        return cls(out.parent, out.stem, [suffix])


def save(figure: Figure, folder: Path, name: str, formats: Sequence[str]) -> list[Path]:
    """Writes a figure in several formats; it has to be called under the settings with which the figure was drawn.

    Raises:
        UserError: a file cannot be written; an earlier file of this name is left as it was.
    """
    return written(encoded(figure, name, formats), folder, name)


def encoded(figure: Figure, name: str, formats: Sequence[str]) -> dict[str, bytes]:
    """The content of a figure's files by format; to be called under the settings it was drawn with."""
    # the layout is the same in all formats; savefig would draw everything once more in each, to make it again
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return {form: _WRITERS[form](figure, name) for form in formats}


def written(contents: Mapping[str, bytes], folder: Path, name: str) -> list[Path]:
    """Writes a figure's files, and returns them.

    Args:
        contents: by format.
        folder: made if it is not there.
        name: of the files, without an ending.

    Raises:
        UserError: a file cannot be written; what was there under its name is as it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {folder / f"{name}.{form}": content for form, content in contents.items()}
    for file, content in files.items():
        write_atomically(file, content)
    return list(files)


def _svg(figure: Figure, name: str) -> bytes:
    drawn = io.StringIO()
    # without a date, the same results give the same files
    FigureCanvasSVG(figure).print_svg(drawn, metadata={"Date": None})
    return svg.tidy(drawn.getvalue(), name).encode()


def _png(figure: Figure, _: str) -> bytes:
    figure.set_dpi(160)
    drawn = io.BytesIO()
    FigureCanvasAgg(figure).print_png(drawn)
    return drawn.getvalue()


def _pdf(figure: Figure, _: str) -> bytes:
    drawn = io.BytesIO()
    FigureCanvasPdf(figure).print_pdf(drawn, metadata={"CreationDate": None})
    return drawn.getvalue()


_WRITERS = {"svg": _svg, "png": _png, "pdf": _pdf}
