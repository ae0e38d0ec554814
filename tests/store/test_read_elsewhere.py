"""Files of results read back alike in pandas, polars and duckdb."""

import re

import duckdb
import pandas as pd
import polars as pl
import pytest

from estbench.store.records import EMPTY, Result, csv, joined
from estbench.store.run_folder import RunFolder, read_results
from tests.support import ROOT

TEXT = (ROOT / "docs" / "reference" / "results.md").read_text(encoding="utf-8")
READERS = [
    line
    for line in re.search(r"<!-- test: readers -->\n```python\n(.*?)```", TEXT, re.DOTALL).group(1).splitlines()
    if line.startswith("frame = ")
]
ROW = {
    "task": "vae[hidden=20 20]",
    "estimator": "rloo",
    "params": '{"samples": 4, "note": "a, b"}',
    "chosen": "{}",
    "device": "cpu",
    "dtype": "float32",
    "measure": "gradient",
    "metric": "variance/logits",
    "step": 0,
    "seed": 0,
    "value": 0.1,
    "low": 0.05,
    "high": 1 / 3,
    "unit": "",
    "n": 256,
    "status": "ok",
    "error": "",
    "replicas": 1,
    "reference": False,
}
# what no reader may take for missing, for a number or for a formula
ERRORS = ["null", "nan", "NA", "None", "=1+1", "-", 'said "no", then stopped', "1e5", "true"]


@pytest.fixture(scope="module")
def results():
    """Rows whose first 150 are all alike, with numbers missing, and then others."""
    failed = {"metric": "", "step": None, "value": None, "low": None, "high": None, "n": None, "status": "failed"}
    trained = {"measure": "training", "metric": "elbo_test", "unit": "nats", "step": 5, "seconds": 0.25, "value": -3.0}
    return joined(
        [
            Result.of([ROW] * 150),
            Result.of([{**ROW, **trained}]),
            Result.of([{**ROW, **failed, "error": error} for error in ERRORS]),
        ]
    )


@pytest.fixture(scope="module")
def folder(results, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    RunFolder(folder).write_results(results)
    return folder


def read(line, folder, monkeypatch):
    """What a line of the docs reads, as rows of plain values; what is missing is None."""
    names = {"pandas": pd, "polars": pl, "duckdb": duckdb}
    with monkeypatch.context() as patch:
        patch.chdir(folder)
        exec(line, names)
        frame = names["frame"]
        table = (
            pl.from_pandas(frame, nan_to_null=True)
            if isinstance(frame, pd.DataFrame)
            else frame.pl()
            if isinstance(frame, duckdb.DuckDBPyRelation)
            else frame
        )
    return table.drop("picture", strict=False).to_dicts()


def test_the_docs_read_both_files_with_each_library():
    """There is a line for each file and library."""
    assert len(READERS) == 6
    assert all(sum(name in line for line in READERS) == 2 for name in ("pandas", "polars", "duckdb"))


@pytest.mark.parametrize("line", READERS)
def test_every_reader_finds_the_same_rows(line, results, folder, monkeypatch):
    """No text is missing, no number is text, and the values are those that were written."""
    found = read(line, folder, monkeypatch)
    assert sum(row["metric"] == EMPTY for row in found) == len(ERRORS)
    wanted = results.drop(columns="picture").astype(object).where(results.notna(), None).to_dict("records")
    assert len(found) == len(wanted)
    for row, right in zip(found, wanted, strict=True):
        for name, value in right.items():
            if isinstance(value, str):
                text = row[name].removeprefix("'") if ".csv" in line else row[name]
                assert text == (value or EMPTY), name
            else:
                assert row[name] == (None if value is None else pytest.approx(value, rel=1e-14)), name


def test_a_run_is_read_back_as_it_was(results, folder):
    """Inside, empty text is empty; only text that was the sign itself becomes empty."""
    back = read_results(folder)
    assert back.equals(results.assign(error=results["error"].replace(EMPTY, "")))


def test_types_of_columns_are_those_of_every_run(results, folder, tmp_path):
    """A run whose steps are all known has the same Parquet types as one where some are missing, so that they join."""
    RunFolder(tmp_path).write_results(results[:150].reset_index(drop=True))
    one, two = (pl.read_parquet(each / "results.parquet") for each in (folder, tmp_path))
    assert one.schema == two.schema
    assert len(pl.concat([one, two])) == len(results) + 150


def test_only_what_is_not_safe_has_an_apostrophe(results):
    """Formulas and names of missing values are defused in CSV; the sign of empty text is not."""
    lines = csv(results).decode().splitlines()[-len(ERRORS) :]
    assert [",'" in line for line in lines] == [True, True, True, True, True, False, False, False, False]
