# Penstock's entry points. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: help setup dev components demo demo-rollback demo-stop test mutants lint format bench prove migration docs clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1|/' | column -t -s '|'

$(VENV)/.runtime: pyproject.toml agent/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "penstock needs Python 3.11 or later; name one with make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) …"
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[cli]' -e agent
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@echo "installing the tools of tests and lint into $(VENV) …"
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

# Where Python may not write bytecode (PYTHONDONTWRITEBYTECODE, a read-only folder), every process would compile every module again.
$(VENV)/.compiled: $(VENV)/.runtime $(shell find src agent/src -name '*.py')
	@$(BIN)/python -m compileall -q src agent/src
	@touch $@

setup: $(VENV)/.compiled  ## make .venv with penstock and its agent

dev: $(VENV)/.dev $(VENV)/.compiled  ## and what tests and lint need

components:  ## install what the tests use of Debian's packages, when that is possible here
	@bash scripts/components.sh

.PHONY: bench-components
bench-components:
	@bash scripts/components.sh bench

demo: setup  ## a commit becomes a running release on three local hosts (ARGS=--yes approves by itself)
	@$(BIN)/python -m penstock.cli.main demo $(ARGS)

demo-rollback: setup  ## the encore: a bad release is stopped at the first host and rolled back
	@$(BIN)/python -m penstock.cli.main demo --yes --rollback $(ARGS)

demo-stop: setup  ## stop what the demo left running
	@$(BIN)/python -m penstock.cli.main demo --stop $(ARGS)

# In a new checkout one process would compile every test module, alone. Later runs compile what has changed.
$(VENV)/.collected: | $(VENV)/.dev
	@echo "compiling the tests …"
	@find tests -name 'test_*.py' | PYTHONDONTWRITEBYTECODE= xargs -n 140 -P 2 $(BIN)/python -m pytest --collect-only -qq >/dev/null || true
	@touch $@

# A test waits for half of its time, so two workers share a processor. Each run would rewrite every test module again, were the bytecode not kept.
test: dev components $(VENV)/.collected  ## all tests (PENSTOCK_REQUIRE=postgresql,… makes a missing component a failure)
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --workers 4 -m 'not prove' $(ARGS)

prove: dev components  ## the long proofs: chaos, fleets, large files, every example of the properties
	@PENSTOCK_EXAMPLES=every $(BIN)/python -m pytest -m prove $(ARGS)

mutants: dev components  ## break the program at 150 places and count what the tests notice (ARGS="--places 20 --package objects")
	@$(BIN)/python scripts/mutants $(ARGS)

lint: dev  ## format, lint, types and import rules
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports
	@$(BIN)/python -m penstock.store.revise check
	@$(BIN)/python -m penstock.cli.main docs --check

format: dev  ## let ruff format and mend what it can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix --quiet .

bench: dev bench-components  ## the benchmarks of docs/performance.md, as ratios measured side by side
	@$(BIN)/python bench/run.py $(ARGS)

migration: dev  ## write the next schema revision, NAME=what_changes, from what the components declare
	@$(BIN)/python -m penstock.store.revise new '$(NAME)'

docs: setup  ## regenerate the generated pages of docs/reference
	@$(BIN)/python -m penstock.cli.main docs

clean:  ## remove what make made
	@rm -rf $(VENV) demo-data penstock-data .ruff_cache .hypothesis
