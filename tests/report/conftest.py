"""What the tests of the report share: made-up results, a report of them, and a way to write others cheaply."""

import pytest

from estbench import report
from tests.support.figures import draw_only_svg
from tests.support.report_results import ENVIRONMENT, results


@pytest.fixture(scope="session")
def five():
    """Results of five estimators."""
    return results(5)


@pytest.fixture(scope="session")
def written(five, tmp_path_factory):
    """The folder of a report of five estimators, with all of its files, of which those that no page holds are empty."""
    with pytest.MonkeyPatch.context() as patch:
        draw_only_svg(patch)
        return report.write(five, ENVIRONMENT, tmp_path_factory.mktemp("report")).parent
