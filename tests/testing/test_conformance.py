"""Every built-in estimator holds what it declares."""

import functools

import pytest

from estbench.errors import UserError
from estbench.plugins.options import options_of
from estbench.plugins.registry import discover
from estbench.plugins.spec import Spec
from estbench.testing import CHECKS
from estbench.testing.subject import Subject

# replicates that still catch every deliberately wrong estimator but that of one percent (test_kit.py)
FEW = 2**16
# checks whose replicates go on until a bias of one percent shows
DRAWS_MANY = ("unbiased", "value", "target")


def small(plugin):
    """The plugin's name, and where it has networks, narrow ones: their width changes nothing it declares."""
    try:
        return f"{plugin.name}[hidden=8]" if "hidden" in options_of(plugin.load()) else plugin.name
    except UserError:
        # one that fails to import fails its own tests, and not the collection of all
        return plugin.name


def most(plugin):
    """Few replicates of what is unbiased; of what is declared biased as many as it takes until the bias shows."""
    try:
        return {"most": FEW} if plugin.load().unbiased else {}
    except UserError:
        return {}


@functools.cache
def built_in():
    """The catalogue of estimators, and by their names, with options that make them small, those that are built in."""
    catalogue = discover("estimator")
    return catalogue, {small(plugin): plugin for plugin in catalogue.plugins.values() if plugin.origin == "built-in"}


def cases(checks, options):
    """A test for every estimator and check; those of an estimator share what was drawn, and so a worker of xdist."""
    catalogue, plugins = built_in()
    makers = {name: functools.partial(catalogue.make, Spec.one(name)) for name in plugins}
    subjects = {name: Subject(makers[name], **options(plugin)) for name, plugin in plugins.items()}
    return [
        pytest.param(subject, check, id=f"{name}-{check.name}", marks=pytest.mark.xdist_group(name))
        for name, subject in subjects.items()
        for check in checks
        if applies(check, subject)
    ]


def applies(check, subject):
    """Whether a check can apply; one of an estimator that cannot be made does, and fails."""
    try:
        return not check.exclusion(subject)
    except UserError:
        return True


@pytest.mark.parametrize(("estimator", "check"), cases(CHECKS, most))
def test_conformance(estimator, check):
    """A built-in estimator passes every check of the public kit."""
    check(estimator)


@pytest.mark.long
@pytest.mark.parametrize(
    ("estimator", "check"), cases([check for check in CHECKS if check.group in DRAWS_MANY], lambda _: {})
)
def test_conformance_to_one_percent(estimator, check):
    """With as many replicates as show a bias of one percent, nothing that is declared unbiased has any."""
    check(estimator)
