"""The tables themselves."""

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
        table: where in the paper or its authors' code.
        task: the registry's name and options, as far as they say which of a paper's models it is; the name alone
            is no task of ours where the registry has none.
        setting: data set and model in the paper's words.
        estimator: the registry's name and options; None where it is none of ours.
        estimator_published: its name in the paper.
        metric: our metric's name; empty where it is none of ours.
        metric_published: what the paper calls it.
        value: the value.
        printed: the value as it is printed.
        spread: as printed, a standard deviation; NaN where none is.
        scale: the printed value is this times our metric: -1 for a negative bound, 100 for a percentage.
        steps: training steps behind it where a protocol's values differ in that; else None.
        source: ``text`` of the paper, or its authors' ``code or log``.
        note: what to know of this very value.
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
    """How published results were made, as far as their paper or code says.

    A part is a value, a list of the values it was chosen from, or ``not stated``.

    Args:
        key: its name.
        about: what it covers, in a few words.
        link: address of the paper.
        task: parts that are options of the task (data set, binarisation, optimiser, prior, ...).
        estimators: parts that are options of an estimator, by the registry's name.
        run: other parts: ``steps``, ``tuned`` (options that were chosen on validation) and ``seeds``.
        notes: what else one must know.
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
        """All parts as pairs of words."""
        pairs = [*self.task.items(), *self.run.items()]
        for name, options in self.estimators.items():
            pairs += [(f"{name}: {key}", value) for key, value in options.items()]
        return [(key, words(value)) for key, value in pairs]


def words(value: Any) -> str:
    """A part's value as people write it."""
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
