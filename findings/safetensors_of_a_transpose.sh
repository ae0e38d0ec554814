#!/usr/bin/env bash
# safetensors.numpy saves a transposed array's memory, not its values.
#
# Library: safetensors 0.8.0 with numpy 2.4.6.
# Expected: load(save({"x": a.T})) is a.T, or save refuses, as safetensors.torch refuses what is not contiguous.
# Seen: the bytes are written in the order of memory under the shape of the transpose: the values are those of
# a.reshape(3, 2). No error, no warning. A contiguous copy is right.
# Output seen: saved [[0, 3], [1, 4], [2, 5]], loaded [[0, 1], [2, 3], [4, 5]]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet safetensors==0.8.0 numpy==2.4.6
cd "$folder"
"$folder/env/bin/python" - <<'PY'
import numpy as np
from safetensors.numpy import load, save

given = np.arange(6).reshape(2, 3)
found = load(save({"x": given.T}))["x"]
copied = load(save({"x": np.ascontiguousarray(given.T)}))["x"]
print(f"saved {given.T.tolist()}, loaded {found.tolist()}, loaded from a copy {copied.tolist()}")
raise SystemExit(not ((found == given.reshape(3, 2)).all() and (copied == given.T).all()))
PY
