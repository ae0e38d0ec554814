"""Every built-in estimator holds what it declares."""

import functools

import pytest

from estbench.errors import UserError
from estbench.plugins.options import options_of
from estbench.plugins.registry import discover
from estbench.plugins.spec import Spec
from estbench.testing import CHECKS
from estbench.testing.subject import Subject

# replicates that still catch every deliberately wrong estimator but that of one percent (test_kit.py): of the gradient
# on one program, of the value, and of each sample where two are compared; the level of a check is the same with any
FEW = {"most": 2**14, "values": 2**14, "pair": 2**11}
# checks that draw more replicates in ``make test-long``
DRAWS_MANY = ("unbiased", "value", "target", "broadcast", "devices", "masks", "examples")


def small(plugin):
    """The plugin's name, and where it has networks, narrow ones: their width changes nothing it declares."""
    try:
        return f"{plugin.name}[hidden=8]" if "hidden" in options_of(plugin.load()) else plugin.name
    except UserError:
        # one that fails to import fails its own tests, and not the collection of all
        return plugin.name


def few(plugin):
    """Few replicates, but as many as it takes until the declared bias of a gradient or of a value shows."""
    try:
        declared = plugin.load()
    except UserError:
        return {}
    needed = {"most": not declared.unbiased, "values": not declared.exact_samples}
    return {name: number for name, number in FEW.items() if not needed.get(name)}


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


@pytest.mark.parametrize(("estimator", "check"), cases(CHECKS, few))
def test_conformance(estimator, check):
    """A built-in estimator passes every check of the public kit."""
    check(estimator)


@pytest.mark.long
@pytest.mark.parametrize(
    ("estimator", "check"), cases([check for check in CHECKS if check.group in DRAWS_MANY], lambda _: {})
)
def test_conformance_to_one_percent(estimator, check):
    """With the kit's own numbers of replicates, which show a bias of one percent, checks by statistics pass as well."""
    check(estimator)
