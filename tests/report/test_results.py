"""Made-up results, as real ones look, for the tests of the report; and tests that they are."""

from estbench.store.records import COLUMNS
from tests.support.report_results import results


def test_results_have_the_columns_of_the_store():
    """What the tests feed to the report has the columns that a run writes."""
    assert list(results(2).columns) == list(COLUMNS)
