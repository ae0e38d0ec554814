#!/usr/bin/env bash
# The KL divergence of a ContinuousBernoulli and the uniform distribution on [0, 1] is infinite, both ways.
#
# Library: torch 2.13.0 (CPU build), torch.distributions.kl_divergence, which has this pair registered.
# Expected: both have the support [0, 1] and positive densities there, so that both are finite: at probs = .3, about .0295 by
# integration. KL(Beta, Uniform) on the same interval is finite.
# Seen: inf and inf. The supports are compared with >= and <=, so that equal ends count as outside.
# Output seen: KL(CB, U) inf, KL(U, CB) inf; by integration 0.02939 and 0.02974; wider 0.0314
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
pins=$(cd "$(dirname "$0")/.." && pwd)/constraints.txt
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet -c "$pins" torch numpy
cd "$folder"
"$folder/env/bin/python" - <<'PY'
import torch
from torch.distributions import ContinuousBernoulli, Uniform, kl_divergence

torch.set_default_dtype(torch.float64)
q, p = ContinuousBernoulli(torch.tensor(0.3)), Uniform(0.0, 1.0)
x = (torch.arange(100_000) + 0.5) / 100_000
log_q = q.log_prob(x)
exact = float((log_q.exp() * log_q).mean()), float(-log_q.mean())
told = float(kl_divergence(q, p)), float(kl_divergence(p, q))
wider = float(kl_divergence(q, Uniform(-0.001, 1.001)))
print(f"KL(CB, U) {told[0]}, KL(U, CB) {told[1]}; by integration {exact[0]:.5f} and {exact[1]:.5f}; wider {wider:.4f}")
raise SystemExit(not (told == (torch.inf, torch.inf) and max(exact) < 0.04 and 0.02 < wider < 0.04))
PY
