# The doors of the project. `make` alone lists them.
# Nothing needs to be prepared but a Python of at least 3.11; everything else goes into .venv.

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
ARGS ?=
# Workers of the test suite: as many as there are cores, and at most eight.
WORKERS ?= $(shell n=$$(nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2); echo $$((n > 8 ? 8 : n)))

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint format bench bench-peers docs dist clean

help: ## list the doors
	@echo "dangol: a shop's purchase stream in, every customer's RFM and segment out"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv with everything the other doors need

$(STAMP): pyproject.toml scripts/setup.sh
	@bash scripts/setup.sh "$(VENV)"
	@touch "$@"

demo: setup ## play a year of a real shop live into the engine; ARGS="--exit-when-done --no-browser"
	@$(BIN)/dangol demo $(ARGS)

test: setup ## run the test suite (some minutes); ARGS= goes to pytest
	@echo "Running the test suite on $(WORKERS) workers."
	@$(BIN)/python -m pytest -n $(WORKERS) -m "not slow" $(ARGS)

test-all: setup ## run the test suite with the long tests; ARGS= goes to pytest
	@echo "Running the whole test suite, the long tests too, on $(WORKERS) workers."
	@$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

lint: setup ## check style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@if grep -qs "tool.importlinter" pyproject.toml; then $(BIN)/lint-imports; fi

format: setup ## write the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## measure, side by side with the machine's limits; ARGS= names cases
	@$(BIN)/dangol bench $(ARGS)

bench-peers: setup ## install the peers that the benchmarks compare with, and measure beside them
	@PYTHON=$(CURDIR)/$(BIN)/python sh benchmarks/peers/setup.sh
	@$(BIN)/dangol bench load-ndjson $(ARGS)

docs: setup ## write the reference pages docs/commands.md and docs/settings.md anew
	@$(BIN)/python -m dangol.serve.cli.reference docs

dist: setup ## build the wheel and the source archive into dist/
	@$(BIN)/python -m build --outdir dist

clean: ## remove what the other doors made, .venv too
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .bench-peers
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
