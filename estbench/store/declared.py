"""The declared metrics of stored results."""

import json
from collections.abc import Iterable
from pathlib import Path

from estbench.core.metrics import Metrics
from estbench.errors import UserError
from estbench.measures.metrics import BUILT_IN
from estbench.store.records import Result
from estbench.store.run_folder import RunFolder


def of_results(results: Iterable[Result]) -> Metrics:
    """The metrics of cells; those of the built-in measures where cells of older versions hold none."""
    return recorded(results) + BUILT_IN


def recorded(results: Iterable[Result]) -> Metrics:
    """The metrics that are kept with cells."""
    found = Metrics()
    for content in dict.fromkeys(json.dumps(result.about.get("metrics", {})) for result in results):
        found += Metrics.from_json(json.loads(content))
    return found


def of_run(source: Path) -> Metrics:
    """The metrics of a run, by its folder or a file of results in it.

    Raises:
        UserError: what is known of the run cannot be read.
    """
    folder = RunFolder.of(source)
    if not folder.recorded():
        return BUILT_IN
    try:
        return Metrics.from_json(folder.info().metrics) + BUILT_IN
    except ValueError as error:
        raise UserError(f"{folder.path} is not what a run writes: {error}") from error
