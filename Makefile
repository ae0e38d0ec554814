# Every target makes the environment first if need be.
PYTHON ?= python3
BIN := .venv/bin
OUT ?= reports/gpu
# as environment, so that a pattern may hold quotes: BENCH="('rloo', 'vae')"
export BENCH ?= .
export BASE
INSTALLED := .venv/.installed
# RUN=python3 takes a Python that has the packages already, and this checkout as it is
NEEDED := $(if $(RUN),,$(INSTALLED))
WITH := $(if $(RUN),PYTHONPATH=".:$$PYTHONPATH" $(RUN),$(BIN)/python)

.PHONY: compare test test-long test-cuda gpu-report lint enter bench bench-compare install

compare: $(INSTALLED)  ## the default comparison on embedded data, with its report in runs/quick
	$(BIN)/estbench compare --out runs/quick

test: $(INSTALLED)  ## all tests but the long ones
	$(BIN)/python -m pytest -n auto --dist loadgroup -m "not long"
	$(BIN)/python -m pytest --doctest-modules estbench

test-long: $(INSTALLED)  ## all tests
	$(BIN)/python -m pytest -n auto --dist loadgroup
	$(BIN)/python -m pytest --doctest-modules estbench

test-cuda: $(NEEDED)  ## the tests that need a GPU; RUN=python3 with what that has
	$(WITH) scripts/gpu_report.py --out $(OUT) --stages graphs,tests $(OPTIONS)

gpu-report: $(NEEDED)  ## all that has to be seen on a GPU, in ten minutes, into the folder OUT; OPTIONS of the script
	$(WITH) scripts/gpu_report.py --out $(OUT) $(OPTIONS)

lint: $(INSTALLED)  ## style, types, and which room may import which
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/lint-imports

enter: $(INSTALLED)  ## new estimators into the tables that list them
	$(BIN)/python scripts/enter_estimators.py

bench: $(INSTALLED)  ## the asv suite on this commit, in this environment; BENCH=regex for some of it
	$(BIN)/asv machine --yes
	$(BIN)/asv run --python=same --set-commit-hash=$$(git rev-parse HEAD) --record-samples --bench "$$BENCH"

bench-compare: $(INSTALLED)  ## the asv suite on BASE and on this commit, in environments of their own, and the gate
	$(if $(BASE),,$(error say which commit to compare with: make bench-compare BASE=main))
	$(BIN)/asv machine --yes
	-$(BIN)/asv continuous --interleave-rounds --record-samples --bench "$$BENCH" "$$BASE" HEAD
	$(BIN)/estbench gate --repeat 5 "$$BASE" HEAD

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade -c constraints.txt pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[ray,slurm,test,track]' --group dev
	touch $@
