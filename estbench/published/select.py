"""Which published results a reader asks for."""

from collections.abc import Callable
from fnmatch import fnmatchcase

from estbench.errors import UserError, nearest
from estbench.published.tables import PublishedResult, results


def select_published(paper: str = "", task: str = "", estimator: str = "") -> tuple[PublishedResult, ...]:
    """The published results of a paper, task and estimator; what is empty restricts nothing.

    Args:
        paper: part of its authors or year, or a protocol's key.
        task: a task's name; globs work.
        estimator: the registry's name or the paper's; globs work.

    Raises:
        UserError: there are none; names what there is.
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
    """What an estimator may be called."""
    ours = (result.estimator.name,) if result.estimator else ()
    return (*ours, result.estimator_published)


def _chosen(
    what: str, wanted: str, names: Callable[[PublishedResult], tuple[str, ...]], pattern: str
) -> list[PublishedResult]:
    """The results of which one name fits; all of them where nothing is wanted."""
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
