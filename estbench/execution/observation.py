"""What code of others changes in the process that runs it: told, put back, and marked in the results."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence

from estbench.errors import listed
from estbench.runtime.process_state import ProcessState, settle
from estbench.store.records import Result


@contextlib.contextmanager
def observed(foreign: bool) -> Iterator[list[str]]:
    """Gives a list that names, at the end, what was changed in this process and is put back.

    Args:
        foreign: whether code of others runs; estbench's own changes nothing, and is not looked at.
    """
    altered: list[str] = []
    if not foreign:
        yield altered
        return
    settle()
    before = ProcessState.now()
    try:
        yield altered
    finally:
        altered += before.changes()
        before.restore()


def marked(results: Sequence[Result], altered: Sequence[str]) -> tuple[Result, ...]:
    """Results that say what their code changed; of estimators that were measured in turns all have failed then."""
    if not altered:
        return tuple(results)
    return tuple(_marked(result, listed(altered), altered) for result in results)


def _marked(result: Result, what: str, altered: Sequence[str]) -> Result:
    note = f"its code changed {what} in the process that measured it, which was put back"
    notes = "; ".join(filter(None, [result.about["note"], note]))
    # what one of them changed was so for the others
    several = len(result.about["cell"]["estimators"]) > 1
    own = result.failing(f"code that was measured beside it changed {what}") if several else result
    return dataclasses.replace(own, about={**result.about, "altered": list(altered), "note": notes})
