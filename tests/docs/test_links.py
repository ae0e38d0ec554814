"""Links between the pages of the repository lead somewhere."""

import re

import pytest

from tests.support import ROOT

PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("docs/**/*.ipynb"),
        *ROOT.glob("reports/*.md"),
    ]
    if "_build" not in path.parts
)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def text_of(page):
    """The page without its code, where brackets and parentheses are no links."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.sub(r"```.*?```|`[^`\n]+`", "", text, flags=re.DOTALL)


def anchors(path):
    """The names by which the page's headings are linked to: lower case, hyphens for spaces, without punctuation."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings_that_exist(page):
    """Every relative link names a file of the repository, and a heading of it where it names one."""
    for link in LINK.findall(text_of(page)):
        name, _, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        target = (ROOT / page).parent / name if name else ROOT / page
        assert target.exists(), link
        assert not anchor or target.suffix != ".md" or anchor in anchors(target), link
