# Every target sets up .venv when it is missing or older than its list of packages, and does
# nothing twice.
#
#   make serve    install what serving needs and start the server     GLIMT_HOST, GLIMT_PORT, GLIMT_HOME
#   make test     the tests                                           ARGS="tests/cli -k help"
#   make test-js  the tests that drive clients from npm
#   make check    formatting, lint, types, layers, generated docs
#   make bench    measure a server                                    ARGS="--url http://…"
#   make docs     write docs/reference anew; `make docs-check` only compares
#
#   PYTHON=python3.12       which Python to build .venv with (3.11 or newer)
#   TORCH_INDEX=https://…   where to take PyTorch from: its install page names one address per CUDA
#                           version and one for CPU; unset, your pip's own index is asked

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help serve test test-js check format bench docs docs-check clean

VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help:
	@sed -n 's/^#   make/  make/p' Makefile

serve: $(VENV)/.engine
	@exec $(BIN)/glimt serve $(ARGS)

test: $(VENV)/.dev
	@$(BIN)/python -m pytest $(ARGS)

# Asked for by name, they have to run: what `make test` leaves out, and skips without packages.
test-js: tests/js/node_modules/.done
	@$(BIN)/python -m pytest tests/js -m js $(ARGS)

# All of them run, so that one round shows everything there is to put right.
check: $(VENV)/.dev
	@failed=0; \
	$(BIN)/ruff format --check --quiet || { echo "\`make format\` puts this right" >&2; failed=1; }; \
	$(BIN)/ruff check --quiet || failed=1; \
	$(BIN)/pyright || failed=1; \
	$(BIN)/lint-imports --no-logo || failed=1; \
	$(MAKE) --no-print-directory docs-check || failed=1; \
	exit $$failed

docs-check: $(VENV)/.dev
	@$(BIN)/python docs/generate.py --check

format: $(VENV)/.dev
	@$(BIN)/ruff format --quiet
	@$(BIN)/ruff check --fix --quiet

bench: $(VENV)/.engine
	@exec $(BIN)/glimt bench $(ARGS)

docs: $(VENV)/.dev
	@$(BIN)/python docs/generate.py

clean:
	rm -rf $(VENV) tests/js/node_modules tests/js/agents/node_modules build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/.engine: pyproject.toml constraints.txt scripts/set_up
	@scripts/set_up engine

$(VENV)/.dev: pyproject.toml constraints.txt scripts/set_up
	@scripts/set_up dev

tests/js/node_modules/.done: tests/js/package.json tests/js/agents/package.json scripts/set_up_js | $(VENV)/.dev
	@scripts/set_up_js
