#!/usr/bin/env bash
# With a masked class, the entropy of TFP's OneHotCategorical has gradient NaN, and that of its Categorical is right.
#
# Library: tfp-nightly 0.26.0.dev20261027 on jax 0.10.2.
# Expected: two names for one distribution: with logits (.3, -.2, -inf) both have entropy .6628, and its derivative is
# (-.1175, .1175, 0), as an entropy bonus of a policy with forbidden actions needs it.
# Seen: both values are right. OneHotCategorical's derivative is (nan, nan, nan), in all three entries; log_prob's are right
# in both.
# Output seen: Categorical 0.6628 [-0.1175, 0.1175, 0.0]; OneHotCategorical 0.6628 [nan, nan, nan]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 tfp-nightly==0.26.0.dev20261027
cd "$folder"
"$folder/env/bin/python" - <<'PY'
import jax
import numpy as np
from tensorflow_probability.substrates.jax import distributions

logits = jax.numpy.array([0.3, -0.2, -jax.numpy.inf])
classes, one_hot = (
    jax.value_and_grad(lambda logits, kind=kind: kind(logits=logits).entropy())(logits)
    for kind in (distributions.Categorical, distributions.OneHotCategorical)
)
score = jax.grad(lambda logits: distributions.OneHotCategorical(logits=logits).log_prob(np.eye(3)[1]))(logits)
print(f"Categorical {classes}; OneHotCategorical {one_hot}; score of the latter {score}")
right = np.allclose(classes[1], [-0.1175, 0.1175, 0], atol=1e-4) and np.isfinite(score).all()
raise SystemExit(not (right and np.isclose(classes[0], one_hot[0]) and np.isnan(one_hot[1]).all()))
PY
