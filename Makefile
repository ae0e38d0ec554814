# Every target makes the environment first if need be.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: compare test test-cuda lint bench install

compare: $(INSTALLED)  ## the default comparison on embedded data, with its report in runs/quick
	$(BIN)/estbench compare --out runs/quick

test: $(INSTALLED)  ## all tests
	$(BIN)/python -m pytest

test-cuda: $(INSTALLED)  ## the tests that need a GPU
	$(BIN)/python -m pytest -m cuda

lint: $(INSTALLED)  ## style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(INSTALLED)  ## the asv suite on this commit, in this environment
	$(BIN)/asv machine --yes
	$(BIN)/asv run --python=same --set-commit-hash=$$(git rev-parse HEAD)

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade -c constraints.txt pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test,track]' --group dev
	touch $@
