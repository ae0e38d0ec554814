from estbench.testing import parametrize_with_checks

from estbench_antithetic_rloo import AntitheticRLOO


@parametrize_with_checks([AntitheticRLOO])
def test_conformance(estimator, check):
    """It passes every check of estbench's kit."""
    check(estimator)
