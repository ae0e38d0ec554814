"""The list of checks, and the ways to run it."""

import inspect
import unittest
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import torch

from estbench.core.estimator import NotApplicableError
from estbench.engine.base import MakeEstimator
from estbench.errors import UserError, nearest
from estbench.plugins.registry import discover
from estbench.plugins.spec import Spec
from estbench.runtime.guard import pass_on
from estbench.testing import contract, exclusion, state, statistical
from estbench.testing.programs import RECIPES
from estbench.testing.subject import Subject
from estbench.testing.verdict import Fault, Inapplicable, Verdict, one_line

Candidate: TypeAlias = str | MakeEstimator | Subject


@dataclass(frozen=True)
class Check:
    """One check of an estimator.

    Args:
        name: name of the check.
        function: raises ``Fault`` or ``Inapplicable``, or returns what it measured, in words.
        exclusion: why it does not apply, as far as the estimator's declarations say; empty where it does.
    """

    name: str
    function: Callable[[Subject], str]
    exclusion: Callable[[Subject], str] = exclusion.never

    def verdict(self, subject: Subject) -> Verdict:
        """The verdict of the check; any exception that a plugin raises is a failure."""
        try:
            if why := self.exclusion(subject):
                return Verdict(self.name, "not applicable", reason=why)
            with _one_thread():
                measured = self.function(subject)
        except (Inapplicable, NotApplicableError) as error:
            return Verdict(self.name, "not applicable", reason=str(error))
        except Fault as error:
            return Verdict(self.name, "failed", error.measured, str(error))
        except BaseException as error:  # noqa: BLE001  (a plugin may raise anything)
            pass_on(error)
            return Verdict(self.name, "failed", reason=one_line(error))
        return Verdict(self.name, "passed", measured)

    def __call__(self, subject: Candidate) -> None:
        """Runs the check as a test.

        Raises:
            AssertionError: it failed.
            unittest.SkipTest: it does not apply.
        """
        found = self.verdict(as_subject(subject))
        if found.verdict == "not applicable":
            raise unittest.SkipTest(found.reason)
        if found.verdict == "failed":
            raise AssertionError(str(found))

    @property
    def group(self) -> str:
        """The name without the program, such as ``unbiased`` for ``unbiased[bernoulli, 1 layer]``."""
        return self.name.partition("[")[0]

    @property
    def doc(self) -> str:
        """What it checks, in a sentence."""
        function = self.function.func if isinstance(self.function, partial) else self.function
        return (inspect.getdoc(function) or "").partition("\n")[0]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Limits torch to one thread, since for programs this small several threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


_EXCLUSIONS: dict[Callable[[Subject], str], Callable[[Subject], str]] = {
    contract.refuses: exclusion.all_accepted,
    statistical.examples: exclusion.coupled,
    statistical.target: exclusion.biased,
    statistical.biased: exclusion.unbiased,
    statistical.inexact: exclusion.exact_samples,
}
_OF_RECIPES = (
    (statistical.unbiased, exclusion.biased_or_other_program),
    (statistical.value, exclusion.other_program),
)


def _checks() -> Iterator[Check]:
    overall = (statistical.broadcast, statistical.devices, statistical.examples, statistical.masks)
    for function in (*contract.CHECKS, *state.CHECKS, *overall):
        yield Check(function.__name__, function, _EXCLUSIONS.get(function, exclusion.never))
    for recipe in RECIPES:
        for of_recipe, excluded in _OF_RECIPES:
            name = f"{of_recipe.__name__}[{recipe.name}]"
            yield Check(name, partial(of_recipe, recipe=recipe), partial(excluded, recipe=recipe))
    for function in (statistical.target, statistical.biased, statistical.inexact):
        yield Check(function.__name__, function, _EXCLUSIONS[function])


CHECKS = tuple(_checks())


def as_subject(candidate: Candidate, seed: int = 0) -> Subject:
    """A subject from an estimator's name with options or from a function that makes it; a subject stays as it is."""
    if isinstance(candidate, Subject):
        return candidate
    return Subject(_maker(candidate) if isinstance(candidate, str) else candidate, seed)


def _maker(name: str) -> MakeEstimator:
    """What makes an estimator by its name with options; checks make hundreds, so plugins are searched once."""
    return partial(discover("estimator").make, Spec.one(name))


def run_checks(estimator: str | MakeEstimator, *, seed: int = 0, only: Iterable[str] = ()) -> Iterator[Verdict]:
    """Checks an estimator: one verdict per check, as soon as there is one.

    Args:
        estimator: its name with options, such as ``"rloo[samples=4]"``, or a class or function that makes it.
        seed: seed of all random numbers in the checks.
        only: names of checks to run, where ``"unbiased"`` means all of ``"unbiased[...]"``; by default all checks.

    Raises:
        UserError: there is no plugin or check of this name, or the plugin fails to import.

    Example:
        >>> [str(verdict) for verdict in run_checks("exact", only=["refuses"])]
        ['refuses: passed: 3 programs refused']
    """
    if isinstance(estimator, str):
        discover("estimator")[Spec.one(estimator).name].load()
    names = {name for check in CHECKS for name in (check.name, check.group)}
    chosen = set(only)
    for name in sorted(chosen - names):
        raise UserError(f"unknown check {name!r}; {nearest(name, names)}")
    subject = as_subject(estimator, seed)
    wanted = [check for check in CHECKS if not chosen or {check.name, check.group} & chosen]
    return (check.verdict(subject) for check in wanted)


def parametrize_with_checks(estimators: Iterable[str | MakeEstimator], *, seed: int = 0) -> Any:
    """A pytest decorator that runs a test for every estimator and every check.

    Args:
        estimators: names with options, or classes or functions that make estimators.
        seed: seed of all random numbers in the checks.

    Example:
        >>> @parametrize_with_checks(["rloo", "rloo[samples=4]"])
        ... def test_conformance(estimator, check):
        ...     check(estimator)
    """
    import pytest  # noqa: PLC0415  (only who writes tests needs it)

    subjects = [(_title(estimator), as_subject(estimator, seed)) for estimator in estimators]
    return pytest.mark.parametrize(
        ("estimator", "check"),
        [pytest.param(s, check, id=f"{title}-{check.name}") for title, s in subjects for check in CHECKS],
    )


def _title(estimator: str | MakeEstimator) -> str:
    if isinstance(estimator, str):
        return estimator
    return str(getattr(estimator, "__name__", type(estimator).__name__))
