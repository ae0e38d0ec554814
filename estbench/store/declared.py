"""The declared metrics of stored results."""

import json
from collections.abc import Iterable
from pathlib import Path

from estbench.core.metrics import Metrics
from estbench.errors import UserError
from estbench.measures.metrics import BUILT_IN
from estbench.store.records import Result


def of_results(results: Iterable[Result]) -> Metrics:
    """The metrics of cells; those of the built-in measures where cells of older versions hold none."""
    return kept(results) + BUILT_IN


def kept(results: Iterable[Result]) -> Metrics:
    """The metrics that are kept with cells."""
    found = Metrics()
    for content in dict.fromkeys(json.dumps(result.about.get("metrics", {})) for result in results):
        found += Metrics.from_json(json.loads(content))
    return found


def of_run(place: Path) -> Metrics:
    """The metrics of a run, by its folder or a file of results in it.

    Raises:
        UserError: the run's record of them is damaged.
    """
    path = (place if place.is_dir() else place.parent) / "environment.json"
    if not path.is_file():
        return BUILT_IN
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        return Metrics.from_json(about.get("metrics") or {}) + BUILT_IN
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{path} holds no record of a run: {str(error).splitlines()[0]}") from error
