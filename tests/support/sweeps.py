"""Tests of many cases, of which ``make test`` runs some that stand for the others."""

from collections.abc import Hashable, Iterable

import pytest


def sweep(cases: Iterable[Hashable], chosen: Iterable[Hashable]) -> list[object]:
    """Parameters of a test: the chosen cases run in ``make test`` as well, the others in ``make test-long`` only.

    Raises:
        ValueError: a case is chosen that is none of the cases.
    """
    every, few = list(cases), set(chosen)
    if unknown := few - set(every):
        raise ValueError(f"chosen are cases that there are not: {sorted(map(str, unknown))}")
    return [
        pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=[] if case in few else pytest.mark.long)
        for case in every
    ]
