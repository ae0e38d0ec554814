"""Every built-in estimator holds what it declares."""

from estbench.errors import UserError
from estbench.plugins.options import options_of
from estbench.plugins.registry import discover
from estbench.testing import parametrize_with_checks


def small(plugin):
    """The plugin's name, and where it has networks, narrow ones: their width changes nothing it declares."""
    try:
        return f"{plugin.name}[hidden=8]" if "hidden" in options_of(plugin.load()) else plugin.name
    except UserError:
        # one that fails to import fails its own tests, and not the collection of all
        return plugin.name


BUILT_IN = [plugin for plugin in discover("estimator").plugins.values() if plugin.origin == "built-in"]


@parametrize_with_checks([small(plugin) for plugin in BUILT_IN])
def test_conformance(estimator, check):
    """A built-in estimator passes every check of the public kit."""
    check(estimator)
