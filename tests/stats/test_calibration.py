"""The calibration of what is printed; scripts/calibration says more, with more simulations."""

import runpy

import pytest

from tests.support import ROOT

CALIBRATION = runpy.run_path(str(ROOT / "scripts" / "calibration"))
INTERVALS = CALIBRATION["kinds"](CALIBRATION["INTERVALS"])
TESTS = CALIBRATION["kinds"](CALIBRATION["TESTS"])


def cases(kinds):
    """Of each interval or test one setting; further ones are for ``make test-long``."""
    first = {kind.name: kind for kind in reversed(kinds)}
    return [
        pytest.param(
            kind, id=f"{kind.name}: {kind.setting}", marks=[] if first[kind.name] is kind else pytest.mark.long
        )
        for kind in kinds
    ]


@pytest.mark.parametrize("kind", cases(INTERVALS))
def test_intervals_hold_the_truth_in_93_to_97_of_100(kind):
    """Over 1,000 simulations or more: if 95 % are right, the share is within 2 points of it in 996 of 1,000 trials."""
    assert kind.low <= CALIBRATION["share"](kind) <= kind.high


@pytest.mark.parametrize("kind", cases(TESTS))
def test_tests_raise_false_alarms_at_their_level(kind):
    """Over 1,000 simulations in which nothing differs, tests at 5 % raise an alarm in 3 to 7 of 100.

    Permutation tests, and those corrected for several estimators, may raise fewer. Student's test of five seeds is
    allowed 8 where differences are uniform, which is not what it assumes.
    """
    assert kind.low <= CALIBRATION["share"](kind) <= kind.high
