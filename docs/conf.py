"""The documentation's site: ``make docs`` builds it with warnings as errors."""

# ruff: noqa: INP001  (Sphinx reads this file by its path)

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from site_pages import write_pages

from estbench import __version__

project = "estbench"
author = "the authors of estbench"
release = version = __version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "myst_nb"]
html_theme = "furo"
html_title = f"estbench {version}"
templates_path: list[str] = []
exclude_patterns = ["_build"]

# the notebooks are executed by the tests; the site shows what they hold
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
# a block of mathematics is written as on code hosts: a fence named math
myst_fence_as_directive = ["math"]
# links to files of the repository that are no pages of the site stay as they are
suppress_warnings = ["myst.xref_missing", "mystnb.unknown_mime_type"]

autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_google_docstring = True
napoleon_numpy_docstring = False


def setup(app: Any) -> None:
    """Writes the generated pages before Sphinx looks for sources."""
    app.connect("config-inited", lambda *_: write_pages(Path(__file__).parent / "reference"))
