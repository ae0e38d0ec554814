"""Compares the protocol of a run with that of a published result, part by part."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import pandas as pd

from estbench.errors import plain
from estbench.published import NOT_STATED, Protocol, PublishedResult, words
from estbench.report.model.rows import given_in
from estbench.report.model.study import Study

NO_OPTION = "no such option"
Agreement: TypeAlias = Literal["same", "differs", "not stated", "not recorded"]


@dataclass(frozen=True)
class ProtocolPart:
    """One part of a protocol.

    Args:
        name: name of the part.
        here: its value in the run, in words.
        there: its published value, in words.
        verdict: ``same``, ``differs``, ``not stated`` in the paper, or ``not recorded`` in the run.
    """

    name: str
    here: str
    there: str
    verdict: Agreement


@dataclass(frozen=True)
class MeasuredProtocol:
    """How an estimator of a task was run.

    Args:
        estimator: its name.
        task_options: options of the task, with the chosen values of tuned ones.
        estimator_options: options of the estimator, with the chosen values of tuned ones.
        recorded: whether these hold all options, or only those that were given.
        chosen: names of the options that were tuned.
        steps: training steps.
    """

    estimator: str
    task_options: Mapping[str, Any]
    estimator_options: Mapping[str, Any]
    recorded: bool
    chosen: frozenset[str]
    steps: int

    @classmethod
    def of(cls, study: Study, task: str, label: str) -> "MeasuredProtocol":
        """The run of an estimator on a task."""
        rows = study.rows[(study.rows["task"] == task) & (study.rows["label"] == label)]
        trained = rows[(rows["measure"] == "training") & (rows["status"] == "ok")]
        chosen = _chosen(trained["chosen"])
        tasks, estimators = (study.options.get(kind, {}) for kind in ("task", "estimator"))
        spec = str(rows["spec"].iloc[0])
        recorded = spec in tasks and label in estimators
        given = _read(str(rows["params"].iloc[0]))
        return cls(
            str(rows["estimator"].iloc[0]),
            {**tasks.get(spec, given_in(spec)), **chosen},
            {**estimators.get(label, given), **chosen},
            recorded,
            frozenset(chosen),
            int(trained["step"].max()) if len(trained) else 0,
        )


def _chosen(values: pd.Series) -> dict[str, Any]:
    """The tuned options with their chosen values; if these differ between seeds, those of the last seed."""
    found: dict[str, Any] = {}
    for text in values.unique():
        found |= _read(str(text))
    return found


def _read(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except json.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def protocol_parts(
    run: MeasuredProtocol, result: PublishedResult, protocol: Protocol, metric: str
) -> Iterator[ProtocolPart]:
    """All parts of a published result's protocol, against a run and the metric it has."""
    for key, value in {**protocol.task, **result.task.options}.items():
        yield _part(key, run.task_options, value, recorded=run.recorded)
    own = result.estimator.options if result.estimator else {}
    for key, value in {**protocol.estimators.get(run.estimator, {}), **own}.items():
        yield _part(f"{run.estimator}: {key}", run.estimator_options, value, recorded=run.recorded)
    steps = protocol.run.get("steps", NOT_STATED) if result.steps is None else result.steps
    yield _part("steps", {"steps": run.steps}, steps, recorded=True)
    yield _selection(run, protocol)
    yield _part("metric", {"metric": metric}, result.metric, recorded=True)


def _part(name: str, options: Mapping[str, Any], published: Any, *, recorded: bool) -> ProtocolPart:
    key = name.rpartition(": ")[2]
    if key not in options:
        here, verdict = (NO_OPTION, "differs") if recorded else ("not recorded", "not recorded")
    else:
        here, verdict = plain(words(options[key])), "same" if same(options[key], published) else "differs"
    if published == NOT_STATED:
        verdict = "not stated"
    return ProtocolPart(name, here, words(published), verdict)  # type: ignore[arg-type]


def _selection(run: MeasuredProtocol, protocol: Protocol) -> ProtocolPart:
    """The part ``tuning``: what was tuned, and on which data it was selected, here always validation data."""
    tuned, selection = frozenset(protocol.run.get("tuned", ())), str(protocol.run.get("selection", NOT_STATED))
    here = f"{', '.join(sorted(run.chosen))} on validation" if run.chosen else "nothing"
    there = f"{', '.join(sorted(tuned))} on {selection}" if tuned else "nothing"
    if selection == NOT_STATED:
        return ProtocolPart("tuning", here, there, "not stated")
    alike = selection == ("validation" if tuned else "none") and (tuned <= run.chosen if tuned else not run.chosen)
    return ProtocolPart("tuning", here, there, "same" if alike else "differs")


def same(here: Any, there: Any) -> bool:
    """Whether a run's value is the published one, or one of the values from which the paper chose."""
    if isinstance(there, list | tuple):
        return any(same(here, one) for one in there)
    try:
        return math.isclose(float(here), float(there), rel_tol=1e-9)
    except (TypeError, ValueError):
        return words(here) == words(there)
