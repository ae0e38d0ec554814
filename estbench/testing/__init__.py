"""The conformance kit: checks that hold an estimator to what it declares.

    from estbench.testing import parametrize_with_checks

    @parametrize_with_checks([MyEstimator, lambda: MyEstimator(samples=4)])
    def test_conformance(estimator, check):
        check(estimator)

``run_checks`` gives the same verdicts without pytest; ``check_task`` checks a task, with
verdicts by ``run_task_checks``, and ``check_measure`` a measure. The statistics are in docs/reference/testing.md.
"""

from estbench.testing.inference import FALSE_ALARMS, POWER, RESOLUTION
from estbench.testing.kit import CHECKS, Check, parametrize_with_checks, run_checks
from estbench.testing.measures import check_measure
from estbench.testing.tasks import check_task, run_task_checks
from estbench.testing.verdict import Verdict

__all__ = [
    "CHECKS",
    "FALSE_ALARMS",
    "POWER",
    "RESOLUTION",
    "Check",
    "Verdict",
    "check_measure",
    "check_task",
    "parametrize_with_checks",
    "run_checks",
    "run_task_checks",
]
