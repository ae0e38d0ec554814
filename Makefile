# Every target first makes the environment if there is none.
PYTHON ?= python3
BIN := .venv/bin
OUT ?= reports/gpu
# exported as an environment variable, so that a pattern may contain quotes: BENCH="('rloo', 'vae')"
export BENCH ?= .
export BASE
INSTALLED := .venv/.installed
# RUN=python3 uses a Python that already has the packages, and this checkout without installing it
NEEDED := $(if $(RUN),,$(INSTALLED))
WITH := $(if $(RUN),PYTHONPATH=".:$$PYTHONPATH" $(RUN),$(BIN)/python)

.PHONY: audit compare docs test test-long test-cuda gpu-report lint enter bench bench-compare install

compare: $(INSTALLED)  ## the default comparison on embedded data, with its report in runs/quick
	$(BIN)/estbench compare --out runs/quick

test: $(INSTALLED)  ## all tests but the long ones
	$(BIN)/python -m pytest -n auto --dist loadgroup -m "not long"
	$(BIN)/python -m pytest --doctest-modules estbench

test-long: $(INSTALLED)  ## all tests
	$(BIN)/python -m pytest -n auto --dist loadgroup
	$(BIN)/python -m pytest --doctest-modules estbench

test-cuda: $(NEEDED)  ## the tests that need a GPU; RUN=python3 uses that Python and its packages
	$(WITH) scripts/gpu_report.py --out $(OUT) --stages graphs,tests $(OPTIONS)

gpu-report: $(NEEDED)  ## every check that needs a GPU, in ten minutes, into the folder OUT; OPTIONS go to the script
	$(WITH) scripts/gpu_report.py --out $(OUT) $(OPTIONS)

lint: $(INSTALLED)  ## style, spelling, types, and the import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/lint-imports

enter: $(INSTALLED)  ## adds new estimators to the asv manifest and to the table in docs/reference/estimators.md
	$(BIN)/python scripts/enter_estimators.py

audit:  ## estimators of another library against enumeration, in an environment of its own; LIBRARY=storchastic
	$(if $(LIBRARY),,$(error say which library, a folder of audits: make audit LIBRARY=storchastic))
	$(PYTHON) -m venv .audits/$(LIBRARY)
	.audits/$(LIBRARY)/bin/python -m pip install --quiet -c constraints.txt -e . -r audits/$(LIBRARY)/requirements.txt
	PYTHONPATH=audits .audits/$(LIBRARY)/bin/python audits/$(LIBRARY)/audit.py

docs: $(INSTALLED)  ## the documentation's site in docs/_build/html; a warning is an error
	$(BIN)/python -m pip install --quiet -c constraints.txt --group docs
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

bench: $(INSTALLED)  ## the asv suite on this commit, in this environment; BENCH=regex selects benchmarks
	$(BIN)/asv machine --yes
	$(BIN)/asv run --python=same --set-commit-hash=$$(git rev-parse HEAD) --record-samples --bench "$$BENCH"

bench-compare: $(INSTALLED)  ## the asv suite on BASE and on this commit, each in its own environment, then the gate
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
