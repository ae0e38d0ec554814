"""What the tests of the report share: made-up results, a report of them, and a way to write others cheaply."""

import shutil

import pytest

from estbench import report
from estbench.report.drawing import files
from tests.support.report_results import ENVIRONMENT, results


@pytest.fixture(scope="session")
def five():
    """Results of five estimators."""
    return results(5)


@pytest.fixture(scope="session")
def written(five, tmp_path_factory):
    """The folder of a report of five estimators, with all of its files."""
    return report.write(five, ENVIRONMENT, tmp_path_factory.mktemp("report")).parent


@pytest.fixture(scope="session")
def illustration(tmp_path_factory):
    """The illustration that every report has, as SVG, drawn once."""
    return report.illustrate("gumbel_softmax", tmp_path_factory.mktemp("illustration"), formats=("svg",))[0]


@pytest.fixture
def svg_only(monkeypatch, illustration):
    """Reports with figures as SVG alone, which is what a page holds."""
    draw_only_svg(monkeypatch, illustration)


@pytest.fixture(scope="module")
def svg_only_in_module(illustration):
    """As ``svg_only``, for fixtures of a module."""
    with pytest.MonkeyPatch.context() as patch:
        draw_only_svg(patch, illustration)
        yield


def draw_only_svg(patch, illustration):
    """Has the writers of other formats make empty files, and copies the illustration."""

    def copied(_, folder):
        folder.mkdir(exist_ok=True)
        return [shutil.copy(illustration, folder)]

    for name in ("png", "pdf"):
        patch.setitem(files._WRITERS, name, lambda *_: b"")
    patch.setattr(report, "illustrate", copied)
