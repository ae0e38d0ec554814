import io
import re

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from estbench import report
from estbench.report.model.study import Study
from estbench.report.text import comparison
from estbench.report.text.findings import answers
from estbench.report.text.tables import table
from tests.support.report_results import ENVIRONMENT, results

# they share one study
pytestmark = pytest.mark.xdist_group("references")
REASON = "logits: too few replicates: 1,024 draw about 2.5 values that are not the likeliest"


@pytest.fixture(scope="module")
def rows():
    found = results(5)
    return found.assign(reference=found["estimator"] == "exact")


@pytest.fixture(scope="module")
def study(rows):
    return Study.of(rows)


def test_an_oracle_is_never_best_nor_tied_and_in_no_test(study):
    """It wins no column, no p-value is against it, and the best of the others is best."""
    found = study.estimates
    oracle = found["label"] == "exact"
    assert not found.loc[oracle, ["best", "tied"]].to_numpy().any()
    assert found.loc[oracle, "p"].isna().all()
    assert found.loc[~oracle & (found["quantity"] == "variance"), "best"].sum() == len(study.tasks)
    for task in study.tasks:
        assert "exact" not in study.paired(task, study.objective(task).key).labels


def test_sentences_and_comparisons_leave_the_oracle_out(study):
    """Nothing is found about it, nothing is said to be worse than it, and scores over tasks do not know it."""
    for task in study.tasks:
        assert not any(re.search(r"\bexact\b", sentence) for sentence in answers(study, task))
        assert "exact" not in {row[0] for row in comparison.of_task(study, task).rows}
    assert "exact" not in comparison.scores(study)
    assert not any("exact" in line for line in comparison.of_all(study).lines)


def test_the_oracle_stands_below_the_others_as_a_reference_in_every_format(rows, svg_only, tmp_path):
    """In the terminal, the page, Markdown and LaTeX, set apart, with its figures; figures draw it in ink."""
    rows = rows[rows["task"] == "toy"]
    study = Study.of(rows)
    assert [row.label for row in table(study, "toy").rows if row.reference] == ["exact"]
    assert table(study, "toy").rows[-1].label == "exact"
    assert study.looks["exact"].reference
    report.write(rows, ENVIRONMENT, tmp_path)
    console = Console(file=io.StringIO(), width=200)
    console.print(*report.terminal_table(rows))
    page = (tmp_path / "index.html").read_text()
    assert page.count('<tbody class="references">') == 1
    assert len(re.findall(r'<tbody class="references">\s*<tr data-label="exact"', page)) == 1
    assert r"\midrule" + "\n    exact (reference) &" in (tmp_path / "tables.tex").read_text()
    for text in (console.file.getvalue(), (tmp_path / "report.md").read_text()):
        assert "exact (reference)" in text
        assert "exact is the task's oracle" in text
    assert set(report.summary(rows).loc[lambda own: own["estimator"] == "exact", "variance_mark"]) == {"reference"}


def test_results_from_before_have_no_reference(rows):
    """Without the column every estimator is a contestant."""
    assert not Study.of(rows.drop(columns="reference")).references


def unresolved(rows, name, seeds=("0", "1", "2")):
    """The same results, the gradient of one estimator not resolved with some seeds, at every step."""
    own = (rows["estimator"] == name) & (rows["measure"] == "gradient") & rows["metric"].str.contains("/")
    own &= rows["seed"].astype(str).isin(seeds)
    blank = dict.fromkeys(("value", "low", "high"), np.nan) | {"status": "unresolved", "error": REASON}
    needed = rows[own & (rows["metric"] == "variance/logits")].assign(
        metric="replicates_needed/logits", value=25000.0, low=25000.0, high=25000.0
    )
    return pd.concat([rows.assign(**{key: rows[key].mask(own, value) for key, value in blank.items()}), needed])


@pytest.mark.parametrize("seeds", [("0", "1", "2"), ("1",)])
def test_what_is_not_resolved_has_no_figure_no_mark_and_a_sentence(rows, seeds):
    """With any seed unresolved there is no mean over the others; it is called neither biased nor tied nor best."""
    found = Study.of(unresolved(rows, "rloo", seeds))
    assert found.column("toy", "variance").index.tolist().count("rloo") == 0
    assert found.column("toy", "relative_bias").index.tolist().count("rloo") == 0
    row = next(row for row in table(found, "toy").rows if row.label == "rloo")
    shown = {heading.quantity.key: cell for heading, cell in zip(table(found, "toy").headings, row.cells, strict=True)}
    assert shown["variance"].text == shown["relative_bias"].text == "unresolved"
    assert not shown["variance"].mark
    assert any(REASON in note for note in row.notes)
    said = answers(found, "toy")
    assert any(
        sentence.startswith("Not resolved") and "rloo; gradient[replicates=25000]" in sentence for sentence in said
    )
    assert not any("rloo" in sentence for sentence in said if "bias" in sentence or "vary" in sentence)
