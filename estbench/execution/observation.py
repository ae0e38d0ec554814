"""Detects changes of the process by third-party code, undoes them, and marks the results."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence

from estbench.errors import listed
from estbench.runtime.descendants import contained
from estbench.runtime.guard import staying
from estbench.runtime.process_state import unchanged
from estbench.store.records import Result


@contextlib.contextmanager
def observed(foreign: bool) -> Iterator[list[str]]:
    """Yields a list that at the end names everything that was changed in this process and has been restored.

    Third-party code cannot end the process by ``os._exit``, which raises SystemExit, and the processes that it starts
    end with it.

    Args:
        foreign: whether third-party code runs; estbench's own code changes nothing and is not observed.
    """
    if not foreign:
        yield []
        return
    with contained(), staying(), unchanged() as altered:
        yield altered


def marked(results: Sequence[Result], altered: Sequence[str]) -> tuple[Result, ...]:
    """Results with a remark on the changes; if estimators were measured alternately, all of them have failed."""
    if not altered:
        return tuple(results)
    return tuple(_marked(result, listed(altered), altered) for result in results)


def _marked(result: Result, what: str, altered: Sequence[str]) -> Result:
    note = f"its code changed {what} in the process that measured it, which was put back"
    notes = "; ".join(filter(None, [result.about["note"], note]))
    # a change by one of them affected the others
    several = len(result.about["cell"]["estimators"]) > 1
    own = result.failing(f"code that was measured beside it changed {what}") if several else result
    return dataclasses.replace(own, about={**result.about, "altered": list(altered), "note": notes})
