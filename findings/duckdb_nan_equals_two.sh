#!/usr/bin/env bash
# DuckDB on a Parquet file that pyarrow wrote: x = 2 is true of NaN.
#
# Libraries: duckdb 2.0.1, pyarrow 26.0.1. The column is 2, NaN, 2: a metric of three runs of which one diverged.
# Expected: the query gives on the file what it gives on the table that was written to it. In SQL of DuckDB NaN equals only
# NaN, and is the greatest number: x = 2 has two rows, x > 2 one, max(x) is NaN.
# Seen: on the file x = 2 has all three rows, x > 2 none, and max(x) is 2. pyarrow leaves NaN out of a column's minimum and
# maximum, as the format says; DuckDB takes these for bounds of all values, so that here the filter is true of every row.
# Output seen: table: [2, 1, nan]; file: [3, 0, 2.0]; file without statistics: [2, 1, nan]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet duckdb==2.0.1 pyarrow==26.0.1 numpy
cd "$folder"
"$folder/env/bin/python" - <<'PY'
import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

runs = pa.table({"x": np.array([2.0, np.nan, 2.0])})
pq.write_table(runs, "with.parquet")
pq.write_table(runs, "without.parquet", write_statistics=False)


def rows(source):
    counts = [len(duckdb.sql(f"select * from {source} where {where}").fetchall()) for where in ("x = 2", "x > 2")]
    return [*counts, duckdb.sql(f"select max(x) from {source}").fetchall()[0][0]]


memory, file, bare = rows("runs"), rows("'with.parquet'"), rows("'without.parquet'")
print(f"table: {memory}; file: {file}; file without statistics: {bare}")
raise SystemExit(not (str(memory) == str(bare) == "[2, 1, nan]" and file == [3, 0, 2.0]))
PY
