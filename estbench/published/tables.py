"""The tables of published results and of protocols."""

import csv
import functools
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Self

from estbench.plugins.spec import Spec

NOT_STATED = "not stated"


@dataclass(frozen=True)
class PublishedResult:
    """One published result.

    Args:
        protocol: key of its protocol.
        paper: authors, year, venue.
        table: the place in the paper or in its authors' code.
        task: name and options of the task here, as far as they are needed to tell the paper's models apart; a name
            without a task of that name if there is none here.
        setting: data set and model in the words of the paper.
        estimator: name and options of the estimator here; None if there is none.
        estimator_published: name of the estimator in the paper.
        metric: name of the metric here; empty if there is none.
        metric_published: name of the metric in the paper.
        value: the value.
        printed: the value as it is printed.
        spread: the standard deviation as printed; NaN if none is printed.
        scale: ratio of the printed value to the metric here: -1 for a negative bound, 100 for a percentage.
        steps: number of training steps, if the values of a protocol differ in it; otherwise None.
        source: ``text`` of the paper, or its authors' ``code or log``.
        note: a remark on this value.
    """

    protocol: str
    paper: str
    table: str
    task: Spec
    setting: str
    estimator: Spec | None
    estimator_published: str
    metric: str
    metric_published: str
    value: float
    printed: str
    spread: float
    scale: float
    steps: int | None
    source: str
    note: str

    @classmethod
    def read(cls, row: Mapping[str, str]) -> Self:
        """A result from a row of the file."""
        kept = ("protocol", "paper", "table", "setting", "estimator_published", "metric", "metric_published", "source")
        return cls(
            task=Spec.one(row["task"]),
            estimator=Spec.one(row["estimator"]) if row["estimator"] else None,
            value=float(row["value"]),
            printed=row["value"],
            spread=float(row["spread"] or math.nan),
            scale=float(row["scale"]),
            steps=int(row["steps"]) if row["steps"] else None,
            note=row["note"],
            **{key: row[key] for key in kept},
        )


@dataclass(frozen=True)
class Protocol:
    """How published results were obtained, as far as their paper or code says.

    A part is a value, a list of the values from which it was chosen, or ``not stated``.

    Args:
        key: its name.
        about: the results that it covers, in a few words.
        link: address of the paper.
        task: parts that are options of the task (data set, binarisation, optimiser, prior, ...).
        estimators: parts that are options of an estimator, by the estimator's name here.
        run: other parts: ``steps``, ``tuned`` (options that were chosen on validation data) and ``seeds``.
        notes: further remarks.
    """

    key: str
    about: str
    link: str
    task: Mapping[str, Any]
    estimators: Mapping[str, Mapping[str, Any]]
    run: Mapping[str, Any]
    notes: tuple[str, ...]

    @property
    def parts(self) -> list[tuple[str, str]]:
        """All parts as pairs of a name and a value in words."""
        pairs = [*self.task.items(), *self.run.items()]
        for name, options in self.estimators.items():
            pairs += [(f"{name}: {key}", value) for key, value in options.items()]
        return [(key, words(value)) for key, value in pairs]


def words(value: Any) -> str:
    """The value of a part in words."""
    if isinstance(value, list | tuple):
        return " or ".join(map(words, value)) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value) or "none"


@functools.cache
def results() -> tuple[PublishedResult, ...]:
    """All published results, by paper and table."""
    lines = _text("results.csv").splitlines()
    return tuple(PublishedResult.read(row) for row in csv.DictReader(lines))


@functools.cache
def protocols() -> Mapping[str, Protocol]:
    """All protocols by key."""
    return {key: _protocol(key, values) for key, values in tomllib.loads(_text("protocols.toml")).items()}


def _protocol(key: str, values: Mapping[str, Any]) -> Protocol:
    return Protocol(
        key,
        values["about"],
        values["link"],
        values.get("task", {}),
        values.get("estimators", {}),
        values.get("run", {}),
        tuple(values.get("notes", ())),
    )


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
