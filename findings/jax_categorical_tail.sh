#!/usr/bin/env bash
# jax.random.categorical and jax.random.choice draw from two distributions: one of them has no tail.
#
# Library: jax 0.10.2 (CPU, float32), and so distrax, numpyro and TFP, whose Categorical calls jax.random.categorical.
# 128,000 classes as of a language model; one has probability .999, the others share .001.
# Expected: both draw from the tail once in 1,000; a float32 holds each probability to 7 digits.
# Seen: choice does, categorical in 0 of 10,000 samples. It takes the largest of logits plus Gumbel noise, which ends at 15.9 in
# float32 and is at least -4.5; a class of 7.8e-9 has to make up for 18.7. The many small ones lose nearly all of their mass.
# Output seen: choice 0.00094 (about .001); categorical 0.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2
cd "$folder"
"$folder/env/bin/python" - <<'PY'
import jax
import jax.numpy as jnp

CLASSES = 128_000
probs = jnp.full(CLASSES, 0.001 / (CLASSES - 1)).at[0].set(0.999)
by_noise = jax.jit(lambda key, probs: (jax.random.categorical(key, jnp.log(probs), shape=(200,)) != 0).sum())
by_sums = jax.jit(lambda key, probs: (jax.random.choice(key, CLASSES, (10_000,), p=probs) != 0).sum())
categorical = sum(int(by_noise(key, probs)) for key in jax.random.split(jax.random.key(0), 50)) / 10_000
choice = sum(int(by_sums(key, probs)) for key in jax.random.split(jax.random.key(0), 20)) / 200_000
print(f"choice {choice} (about .001); categorical {categorical}")
raise SystemExit(not (0.0008 < choice < 0.0012 and categorical < 0.0002))
PY
