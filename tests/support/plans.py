"""Plans of suites that are written as values."""

from estbench.planning import plan as planning
from estbench.planning.resolved import ResolvedSuite
from estbench.planning.suite import validate
from estbench.plugins.registry import Plugins


def resolved(values, files=()):
    return ResolvedSuite.of(validate(values, "test"), Plugins.found(files))


def plan_of(values, files=()):
    return planning.make(resolved(values, files))
