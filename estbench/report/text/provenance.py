"""Provenance: where results come from, as pairs of a key and a text."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from estbench.core.metrics import Metric, Metrics
from estbench.errors import plain
from estbench.report.model.completeness import Planned
from estbench.report.model.study import Options

_ASIDE = ("families", "papers", "options", "metrics", "sources", "planned")


def entries(environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    """All entries of the environment, in order, except those in ``_ASIDE``, which are used elsewhere."""
    return [(plain(key), _words(value)) for key, value in environment.items() if key not in _ASIDE]


def entry(environment: Mapping[str, Any], key: str) -> str:
    """One entry of the environment as text, empty if there is none."""
    return _words(environment[key]) if environment.get(key) is not None else ""


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{plain(key)} {_words(part)}" for key, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value))
    return plain("none" if value is None else value)


def options(environment: Mapping[str, Any]) -> Options:
    """All options by ``task`` or ``estimator``, specification and name, where the environment holds them."""
    return dict(environment.get("options") or {})


def metrics(environment: Mapping[str, Any]) -> Metrics:
    """What the measures declare, where the environment holds it.

    Raises:
        ValueError: the environment holds something else in its place.
    """
    found = Metrics.from_json(environment.get("metrics") or {})
    return Metrics({measure: tuple(map(_plain, own)) for measure, own in found.declared.items()})


def _plain(metric: Metric) -> Metric:
    return dataclasses.replace(
        metric, title=plain(metric.title), unit=plain(metric.unit), about=plain(metric.about)
    )  # fmt: skip


def planned(environment: Mapping[str, Any]) -> Planned:
    """The measures that the run was to make, by task and estimator, where the environment holds them."""
    tasks = dict(environment.get("planned") or {})
    return {plain(task): {plain(name): own for name, own in each.items()} for task, each in tasks.items()}


def families(environment: Mapping[str, Any]) -> dict[str, str]:
    """Family by estimator's name, where the environment holds it."""
    return {plain(name): plain(family) for name, family in dict(environment.get("families") or {}).items()}
