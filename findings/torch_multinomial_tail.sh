#!/usr/bin/env bash
# torch.multinomial with replacement never draws the tail of a large vocabulary in float32.
#
# Library: torch 2.13.0 (CPU build). 128,000 classes; one has probability .999, the others share .001.
# Expected: 1 draw in 1,000 is from the tail, as the probabilities add up to 1, with torch.distributions.Categorical too.
# Seen: 0 of 1,000,000 draws are. The cumulative sum is in float32, and beyond .999 a summand of 7.8e-9 is less than half of
# the distance to the next number: every class but the first has width 0. Reversing the order of the classes, or float64, is
# right. (A single draw, num_samples=1, takes another algorithm.)
# Output seen: tail share: first .999: 0.0; Categorical: 0.0; reversed: 0.00094; float64: 0.00105
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
pins=$(cd "$(dirname "$0")/.." && pwd)/constraints.txt
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet -c "$pins" torch numpy
cd "$folder"
"$folder/env/bin/python" - <<'PY'
import torch

torch.manual_seed(0)
classes, draws = 128_000, 1_000_000
probs = torch.full((classes,), 0.001 / (classes - 1))
probs[0] = 0.999
assert abs(float(probs.double().sum()) - 1) < 1e-6


def tail(probs, likely):
    return float((torch.multinomial(probs, draws, replacement=True) != likely).float().mean())


first, reverse, double = tail(probs, 0), tail(probs.flip(0), classes - 1), tail(probs.double(), 0)
through = float((torch.distributions.Categorical(probs).sample((draws,)) != 0).float().mean())
print(f"tail share: first .999: {first}; Categorical: {through}; reversed: {reverse}; float64: {double}")
raise SystemExit(not (first == through == 0 and abs(reverse - 0.001) < 2e-4 and abs(double - 0.001) < 2e-4))
PY
