"""Short names of tasks, what estimators declare, and what is missing from results."""

import pandas as pd
import pytest

from estbench.report.model.completeness import missing
from estbench.report.model.declared import Declared
from estbench.report.model.display import display_names
from estbench.report.model.study import Study
from estbench.report.text.findings import answers
from tests.support.report_results import results

VAE = "vae[dataset=mnist,latents=bernoulli]"


@pytest.mark.parametrize(
    ("tasks", "names"),
    [
        ([VAE], ["vae"]),
        ([VAE, "toy[units=3]"], ["vae", "toy"]),
        ([VAE, "vae[latents=bernoulli]"], ["vae (dataset=mnist)", "vae"]),
        (["toy[units=3]", "toy[units=4]"], ["toy (units=3)", "toy (units=4)"]),
        (["toy on cpu, float32", "toy on cuda, float32"], ["toy on cpu, float32", "toy on cuda, float32"]),
        (["toy", "toy"], ["toy"]),
        ([], []),
    ],
)
def test_short_names_tell_tasks_apart(tasks, names):
    """Options are in a name only where another task of the same kind has others, and no two tasks share a name."""
    found = display_names(list(dict.fromkeys(tasks)))
    assert list(found) == list(dict.fromkeys(tasks))
    assert list(found.values()) == names


def test_declarations_are_read_from_rows():
    """A row that says nothing takes no declaration away."""
    said = [("a", "unbiased"), ("b", ""), ("b", "biased"), ("c", "unbiased, 2-sample bound"), ("a", ""), ("d", "")]
    found = Declared.of(pd.DataFrame(said, columns=["label", "declared"]))
    words = {"a": "unbiased", "b": "biased", "c": "unbiased for the 2-sample bound", "d": ""}
    assert {label: each.words for label, each in found.items()} == words


def rows(*cells):
    """Prepared rows of task t: label, measure, seed and status."""
    table = pd.DataFrame(cells, columns=["label", "measure", "seed", "status"])
    return table.assign(task="t on cpu, float32", spec="t")


def told(table):
    return sorted(table[["label", "measure", "reason", "seeds", "of"]].itertuples(index=False, name=None))


def test_what_failed_and_what_was_not_measured_is_missing():
    """Against the seeds and measures of the others; what is not applicable or unresolved is not missing."""
    found = missing(rows(
        ("a", "gradient", "0", "ok"), ("a", "gradient", "1", "ok"), ("a", "speed", "0", "ok"),
        ("b", "gradient", "0", "failed"), ("b", "speed", "0", "not applicable"), ("c", "gradient", "0", "unresolved"),
        ("c", "gradient", "1", "unresolved"), ("c", "speed", "0", "ok"),
    ))  # fmt: skip
    assert told(found) == [("b", "gradient", "failed", 1, 2), ("b", "gradient", "not measured", 1, 2)]


def test_what_was_planned_and_has_no_row_at_all_is_missing():
    """An estimator, and a measure that no estimator has yet; plans of other tasks say nothing of this one."""
    planned = {"t": {"a": ["gradient", "training"], "z": ["gradient"]}, "other": {"y": ["gradient"]}}
    found = missing(rows(("a", "gradient", "0", "ok"), ("a", "gradient", "1", "ok")), planned)
    assert told(found) == [("a", "training", "not measured", 1, 1), ("z", "gradient", "not measured", 2, 2)]


def test_an_estimator_without_any_row_is_named_on_top_and_nobody_is_crowned():
    """As after an interrupt before its first measurement."""
    found = results(3, tasks=("toy",), evaluations=3)
    measures = ["gradient", "speed", "training"]
    planned = {"toy": dict.fromkeys([*found["estimator"].unique(), "reinmax"], measures)}
    study = Study.of(found, planned=planned)
    first = "Incomplete: gradient not measured for reinmax; speed not measured for reinmax; training not measured for"
    assert answers(study, "toy")[0].startswith(first)
    assert not study.estimates[["best", "tied", "close"]].to_numpy().any()
    assert Study.of(found).estimates["best"].any()
