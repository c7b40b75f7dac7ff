# `make help` lists the targets. Every target runs `setup` first, which does nothing while the lock is unchanged.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
IMAGE := .venv-celery
IMAGE_INSTALLED := $(IMAGE)/.installed
PYTEST := $(BIN)/python -m pytest
# Three workers for two cores: one waits most of the time for the Airflow of the end-to-end tests, which it begins with.
ALL_TESTS := -n 3 --dist loadgroup --no-loadscope-reorder
export PYTHONPATH := plugins:.
export UV_PYTHON_DOWNLOADS := never
export UV_HTTP_TIMEOUT ?= 180
# Airflow's processes start in half the time when their byte code is kept.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup browser image compose demo up down airflow amop break fix test check lint format reliability simulate \
	mutants bench ratios docs lock clean matrix lint-code lint-sql lint-types \
	lint-imports lint-dependencies

help:  ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-12s %s\n", $$1, $$2}'

setup: $(INSTALLED)  ## create .venv with exactly the packages of requirements-dev.txt (PYTHON=python3.12 to choose)

$(INSTALLED): requirements-dev.txt requirements-bootstrap.txt bin/set-up
	@echo "Installing the locked packages into $(VENV)"
	@bash bin/set-up $(PYTHON) $(VENV)
	@touch $@

browser: setup  ## install the headless browser that the tests of the operators' page drive, unless there is one
	@bash bin/set-up-browser

image: setup $(IMAGE_INSTALLED)  ## create .venv-celery with exactly the packages of the image, and install Redis unless it is there
	@bash bin/set-up-redis

$(IMAGE_INSTALLED): requirements-celery.txt requirements-bootstrap.txt bin/set-up
	@echo "Installing the packages of the image into $(IMAGE)"
	@bash bin/set-up $(PYTHON) $(IMAGE) requirements-celery.txt $(BIN)/uv
	@touch $@

compose: image  ## run a day on the services of docker-compose.yaml as local processes, with two Celery workers
	$(PYTEST) tests/compose

demo: setup  ## run a whole billing cycle in the sandbox, verify every figure, stop
	$(BIN)/python -m sandbox demo

up: setup  ## start the sandbox with the Airflow UI and leave it running
	$(BIN)/python -m sandbox up

down: setup  ## stop the sandbox; its data stays in .world
	$(BIN)/python -m sandbox down

airflow: setup  ## run the airflow CLI in the running sandbox: make airflow ARGS="dags list"
	@$(BIN)/python -m sandbox airflow $(ARGS)

amop: setup  ## run the package's command line in the running sandbox: make amop ARGS="status"
	@$(BIN)/python -m sandbox amop $(ARGS)

break: setup  ## break a part of the running sandbox, to practise the runbook: make break WHAT=key|carrier|amop|bucket|row
	@$(BIN)/python -m sandbox break $(WHAT)

fix: setup  ## repair what `make break` broke
	@$(BIN)/python -m sandbox fix

test: setup browser  ## run all tests, or a part: make test T=tests/unit/solver K="bound and not slow"
ifeq ($(T)$(K),)
	@# The services of docker-compose.yaml need all cores and an environment of their own: make compose
	@# The covering subset of `make matrix` takes three minutes more: make test T=tests/e2e/test_matrix.py
	$(PYTEST) $(ALL_TESTS) --ignore tests/e2e/test_matrix.py --ignore tests/compose tests
else
	$(PYTEST) $(or $(T),tests) $(if $(K),-k '$(K)')
endif

check: setup  ## check format, lint, types, import rules and SQL of the files changed since main, in seconds
	@$(BIN)/python -m tools.check_changed

lint: setup  ## check format, lint, types, import rules, SQL and dependencies of everything
	@$(MAKE) --no-print-directory --jobs 2 --keep-going --output-sync=target \
		lint-sql lint-types lint-code lint-imports lint-dependencies

lint-code:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

lint-sql:
	$(BIN)/python -m tools.sql_lint

lint-types:
	$(BIN)/mypy

lint-imports:
	$(BIN)/lint-imports

lint-dependencies:
	$(BIN)/python -m tools.dependency_audit

format: setup  ## fix the format and whatever the linters can fix
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format --quiet .
	$(BIN)/sqlfluff fix --processes 2 --disable-progress-bar -q include/sql

reliability: export AMOP_RELIABILITY_FILE := $(CURDIR)/.reliability.jsonl
reliability: setup browser  ## run the fault-injection tests and write docs/reliability.md from their records
	rm -f $(AMOP_RELIABILITY_FILE)
	$(PYTEST) $(ALL_TESTS) tests
	$(BIN)/python -m tests.worlds.reliability $(AMOP_RELIABILITY_FILE) docs/reliability.md

matrix: setup  ## fail every task of a day, press every handle, and write the table: make matrix K="merge_devices" for a part
	$(BIN)/python -m tests.worlds.matrix docs/reliability.md "$(K)"

simulate: export AMOP_SEEDS := $(or $(SEEDS),100)
simulate: setup  ## run nights with faults that seeds draw: make simulate SEEDS=1000
	$(PYTEST) -n 2 tests/chaos/simulation

mutants: setup  ## plant the faults of tools/mutants.toml and show which the tests find: make mutants K=outbox
	$(BIN)/python -m tools.mutants $(K)

bench: setup  ## run the benchmarks and write docs/benchmarks.md
	$(BIN)/python -m bench docs/benchmarks.md

ratios: setup  ## compare a few ratios of the benchmarks with those kept in bench/ratios.toml, in half a minute
	$(BIN)/python -m bench.guard

docs: setup  ## write docs/DAGS.md and docs/configuration.md from the code
	$(BIN)/python -m tools.dag_list docs/DAGS.md
	$(BIN)/python -m tools.configuration docs/configuration.md

lock: setup  ## resolve the requirements*.in files into the requirements*.txt locks
	$(BIN)/python -m tools.lock

clean: down  ## remove the data of the sandbox; .venv stays
	rm -rf .world
