"""What asv's own search for regressions does not see, as docs/how-to/tracking.md says."""

import numpy as np
from asv import step_detect


def regressions(values):
    """The values of asv 0.6's detection for a history: the latest, the best before, and the steps."""
    return step_detect.detect_regressions(step_detect.detect_steps(list(values)), threshold=0.05)


def history():
    return 1 + 0.002 * np.random.default_rng(0).standard_normal(60)


def test_one_last_point_is_a_regression():
    """A single measurement that is 20 % slower, at the end of 60, is reported; the history without it is not."""
    late = history()
    late[-1] = 1.2
    assert regressions(history())[0] is None
    assert regressions(late)[0] == 1.2


def test_a_slow_drift_is_none():
    """Thirty commits that each cost 1 %, a third in all, are no regression: there is no step."""
    drift = history()
    drift[30:] *= 1.01 ** np.arange(30)
    assert drift[-1] > 1.3
    assert regressions(drift)[0] is None
