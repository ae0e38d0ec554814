#!/usr/bin/env bash
# write_table(store_schema=False) drops the user's own metadata, and says nothing.
#
# Library: pyarrow 26.0.1, pyarrow.parquet.
# Expected: the option is said to leave out the Arrow schema, which is stored under the key ARROW:schema. Key-value metadata of
# one's own, such as the seed and the version of a run, has its own place in a Parquet file and stays.
# Seen: the file has no key-value metadata at all. (ParquetWriter.add_key_value_metadata writes it all the same.)
# Output seen: default: {b'seed': b'7'}; store_schema=False: None; added by hand: {b'seed': b'7'}
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet pyarrow==26.0.1
cd "$folder"
"$folder/env/bin/python" - <<'PY'
import pyarrow as pa
import pyarrow.parquet as pq

table = pa.table({"x": [1.0]}).replace_schema_metadata({"seed": "7"})


def written(name, **options):
    pq.write_table(table, name, **options)
    return pq.read_metadata(name).metadata, pq.read_table(name).schema.metadata


default, bare = written("default.parquet"), written("bare.parquet", store_schema=False)
with pq.ParquetWriter("added.parquet", table.schema, store_schema=False) as writer:
    writer.write_table(table)
    writer.add_key_value_metadata({"seed": "7"})
added = pq.read_metadata("added.parquet").metadata
print(f"default: {default[1]}; store_schema=False: {bare}; added by hand: {added}")
raise SystemExit(not (default[1] == {b"seed": b"7"} and bare == (None, None) and added == {b"seed": b"7"}))
PY
