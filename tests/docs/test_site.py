"""The documentation's site: every page is reached, and the generated ones hold what the code says."""

import importlib.util
import re
import subprocess
import sys

import pytest

from estbench import discover
from tests.support import ROOT

DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """The folder of the generated pages."""
    spec = importlib.util.spec_from_file_location("site_pages", DOCS / "site_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("reference")
    module.write_pages(folder)
    return folder / "generated"


@pytest.mark.parametrize("kind", ["estimator", "task"])
def test_every_plugin_has_a_page(generated, kind):
    """Each built-in plugin has a card, and the list of cards names it."""
    listed = (generated / f"{kind}s.rst").read_text()
    for name in discover(kind).plugins:
        assert f"{kind}-{name}\n" in listed
        assert f"\n.. autoclass:: estbench.{kind}s.{name}." in (generated / f"{kind}-{name}.rst").read_text()


def test_cards_state_declarations_and_defaults(generated):
    """The card of RLOO says that it is unbiased, and how many samples it takes if none are named."""
    card = (generated / "estimator-rloo.rst").read_text()
    assert "- ``unbiased``: True" in card
    assert "- ``samples``: 2" in card


def test_every_command_is_described(generated):
    """The page of commands has those of the groups too."""
    page = (generated / "cli.md").read_text()
    headings = re.findall(r"^## (.+)$", page, re.MULTILINE)
    assert {"estbench compare", "estbench data list", "estbench cache prune", "estbench gate"} <= set(headings)
    assert "`--estimators`" in page


def test_every_page_stands_in_a_table_of_contents():
    """No page of docs/ is left out of the site."""
    for folder in ("tutorials", "how-to", "reference", "explanation"):
        listed = re.search(r"```{toctree}\n(.*?)```", (DOCS / folder / "index.md").read_text(), re.DOTALL)[1].split()
        pages = {path.stem for path in (DOCS / folder).glob("*") if path.suffix in (".md", ".ipynb")} - {"index"}
        assert pages <= set(listed), folder


@pytest.mark.long
def test_the_site_builds_without_a_warning(tmp_path):
    """As ``make docs`` does; a warning is an error."""
    pytest.importorskip("myst_nb", reason="needs the packages of the dependency group docs")
    pytest.importorskip("furo", reason="needs the packages of the dependency group docs")
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", DOCS, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "index.html").is_file()
