"""The selection of published results by paper, task and estimator."""

from collections.abc import Callable
from fnmatch import fnmatchcase

from estbench.errors import UserError, nearest
from estbench.published.tables import PublishedResult, results


def select_published(paper: str = "", task: str = "", estimator: str = "") -> tuple[PublishedResult, ...]:
    """The published results of a paper, task and estimator; empty arguments do not restrict the selection.

    Args:
        paper: part of its authors or year, or a protocol's key.
        task: a task's name, or a glob pattern.
        estimator: the name of the estimator here or in the paper, or a glob pattern.

    Raises:
        UserError: there are no such results; the message names those that exist.
    """
    found = [
        _chosen("paper", paper, lambda result: (result.protocol, result.paper), f"*{paper}*"),
        _chosen("task", task, lambda result: (result.task.name,), task),
        _chosen("estimator", estimator, _estimators, estimator),
    ]
    kept = [result for result in results() if all(result in part for part in found)]
    if not kept:
        raise UserError(f"no published result has all of {_asked(paper=paper, task=task, estimator=estimator)}")
    return tuple(kept)


def _estimators(result: PublishedResult) -> tuple[str, ...]:
    """The names of an estimator."""
    ours = (result.estimator.name,) if result.estimator else ()
    return (*ours, result.estimator_published)


def _chosen(
    what: str, wanted: str, names: Callable[[PublishedResult], tuple[str, ...]], pattern: str
) -> list[PublishedResult]:
    """The results that have a matching name; all results if nothing is asked for."""
    everything = results()
    if not wanted:
        return list(everything)
    found = [r for r in everything if any(fnmatchcase(name.lower(), pattern.lower()) for name in names(r))]
    if not found:
        known = {name for result in everything for name in names(result)}
        raise UserError(f"nothing is published of {what} {wanted!r}; {nearest(wanted, known)}")
    return found


def _asked(**words: str) -> str:
    return ", ".join(f"{key} {word!r}" for key, word in words.items() if word)
