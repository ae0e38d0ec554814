"""Figures as SVG: tooltips, and identifiers that do not clash when several figures share a page."""

import re

# the text was written by matplotlib and is no foreign document
from xml.etree import ElementTree as ET

from estbench.report.drawing.style import FAINT, HOVER, PAPER
from estbench.report.model.looks import INK
from estbench.report.text.widths import text_width

_NAMESPACE = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"
# older versions of matplotlib write the whole font as one property
_SIZE = re.compile(r"font(?:-size)?: (?:[\w ]+ )?([\d.]+)px")
_COLOURS = {INK: "var(--ink, #1f2329)", FAINT: "var(--faint, #d5d8dd)", PAPER: "var(--paper, #fefefe)"}


def tidy(text: str, prefix: str) -> str:
    """Adds tooltips to a figure, and makes its identifiers unique."""
    ET.register_namespace("", _NAMESPACE[1:-1])
    ET.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ET.fromstring(text)  # noqa: S314
    for metadata in root.findall(f"{_NAMESPACE}metadata"):
        root.remove(metadata)
    for element in root.iter():
        _explain(element)
        _rename(element, prefix)
        _measure(element)
    return ET.tostring(root, encoding="unicode")


def inline(text: str, about: str) -> str:
    """A tidy figure for a page, which sets its size and colours; it has a description for screen readers."""
    root = ET.fromstring(text)  # noqa: S314
    for element in root.iter():
        style = element.get("style")
        if style:
            element.set("style", _recolour(style))
    width = root.get("width", "")
    for key in ("width", "height"):
        root.attrib.pop(key, None)
    root.set("role", "img")
    root.set("aria-label", about)
    root.set("style", f"max-width: {width}")
    return ET.tostring(root, encoding="unicode")


def _explain(element: ET.Element) -> None:
    found = element.get("id", "")
    if found.startswith(HOVER):
        del element.attrib["id"]
        element.set("class", "point")
        title = ET.Element(f"{_NAMESPACE}title")
        title.text = found.removeprefix(HOVER)
        element.insert(0, title)


def _measure(element: ET.Element) -> None:
    """Gives a text the width for which the layout was made, whatever fonts the reader's computer has."""
    size = _SIZE.search(element.get("style", ""))
    if element.tag == f"{_NAMESPACE}text" and size and element.text and len(element) == 0:
        element.set("textLength", f"{text_width(element.text, float(size[1])):.2f}")
        element.set("lengthAdjust", "spacingAndGlyphs")


def _rename(element: ET.Element, prefix: str) -> None:
    if "id" in element.attrib:
        element.set("id", f"{prefix}-{element.attrib['id']}")
    link = element.get(_LINK, "")
    if link.startswith("#"):
        element.set(_LINK, f"#{prefix}-{link[1:]}")
    clip = element.get("clip-path")
    if clip:
        element.set("clip-path", clip.replace("url(#", f"url(#{prefix}-"))


def _recolour(style: str) -> str:
    return re.sub(r"#[0-9a-f]{6}", lambda colour: _COLOURS.get(colour[0], colour[0]), style)
