#!/usr/bin/env bash
# Bernoulli samples of numpyro, distrax and TFP are 13 times too often 1 at p = 1e-8.
#
# Libraries: numpyro 0.22.0, distrax 0.1.9, tfp-nightly 0.26.0.dev20261027 on jax 0.10.2 (CPU, float32).
# Expected: about 1.3 ones in 2^27 samples of Bernoulli(1e-8): float32 has numbers far smaller than 1e-8.
# Seen: 16 in each of the three. A uniform number is a multiple of 2^-23, and it is below 1e-8 where it is 0, so that the
# probability is 2^-23 = 1.2e-7, and so it is for every p from 0 to there. No distribution passes on jax.random's mode="high".
# Output seen: expected 1.3; numpyro 16, distrax 16, tfp 16; jax.random.bernoulli(mode="high") 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 numpyro==0.22.0 distrax==0.1.9 tfp-nightly==0.26.0.dev20261027
cd "$folder"
"$folder/env/bin/python" - <<'PY'
import distrax
import jax
import numpyro.distributions
from tensorflow_probability.substrates import jax as tfp

P, SHAPE, CALLS = 1e-8, (2**25,), 4
draw = {
    "numpyro": lambda key: numpyro.distributions.Bernoulli(probs=P).sample(key, SHAPE),
    "distrax": lambda key: distrax.Bernoulli(probs=P).sample(seed=key, sample_shape=SHAPE),
    "tfp": lambda key: tfp.distributions.Bernoulli(probs=P).sample(SHAPE, seed=key),
    "mode high": lambda key: jax.random.bernoulli(key, P, SHAPE, mode="high"),
}
keys = jax.random.split(jax.random.key(0), CALLS)
ones = {}
for name, one in draw.items():
    counted = jax.jit(lambda key, one=one: one(key).sum())
    ones[name] = sum(int(counted(key)) for key in keys)
print(f"expected {P * SHAPE[0] * CALLS:.1f}; {ones}")
high = ones.pop("mode high")
raise SystemExit(not (high < 8 and all(8 < count < 40 for count in ones.values())))
PY
