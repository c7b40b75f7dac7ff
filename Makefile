# What each command does: README.md. `make setup` is part of every one of them and does nothing when nothing changed.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TESTS ?= tests
export PYTHONPATH := plugins:.
export UV_PYTHON_DOWNLOADS := never
export UV_HTTP_TIMEOUT ?= 180
# Airflow's processes start in half the time when their byte code is kept.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo up down airflow bench test reliability lint format docs lock clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-9s %s\n", $$1, $$2}'

setup: $(INSTALLED)  ## create .venv and install the hashed lock

$(INSTALLED): requirements-dev.txt requirements-bootstrap.txt bin/set-up
	bash bin/set-up $(PYTHON) $(VENV)
	@touch $@

demo: setup  ## a whole billing cycle on a sandbox world: sync, optimization, approval, plan changes, savings, proof
	$(BIN)/python -m sandbox.world demo

up: setup  ## the same world with the Airflow UI, left running
	$(BIN)/python -m sandbox.world up

down: setup  ## stop what `make up` started
	$(BIN)/python -m sandbox.world down

airflow: setup  ## the airflow CLI in the running world: make airflow ARGS="dags test device_sync_jasper 2026-11-20"
	@$(BIN)/python -m sandbox.world airflow $(ARGS)

test: setup  ## the whole test suite (TESTS=tests/unit for a part)
	$(BIN)/python -m pytest -n 2 --dist loadgroup --ignore tests/e2e $(TESTS)
ifeq ($(TESTS),tests)
	$(BIN)/python -m pytest tests/e2e
endif

reliability: export AMOP_RELIABILITY_FILE := $(CURDIR)/.reliability.jsonl
reliability: setup  ## run the tests that break things and write docs/reliability.md from what they saw
	rm -f $(AMOP_RELIABILITY_FILE)
	$(BIN)/python -m pytest -n 2 --dist loadgroup --ignore tests/e2e tests
	$(BIN)/python -m pytest tests/e2e
	$(BIN)/python -m tests.reliability $(AMOP_RELIABILITY_FILE) docs/reliability.md

lint: setup  ## ruff, formatting, sqlfluff, types, import rules, dependencies
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/sqlfluff lint --processes 2 --disable-progress-bar include/sql
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m sandbox.dependency_audit

format: setup  ## put the code in the house's format
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format --quiet .
	$(BIN)/sqlfluff fix --processes 2 --disable-progress-bar -q include/sql

bench: setup  ## the benchmarks; writes docs/benchmarks.md
	$(BIN)/python -m bench docs/benchmarks.md

docs: setup  ## write docs/DAGS.md anew
	$(BIN)/python -m sandbox.world dag-list docs/DAGS.md

lock: setup  ## resolve requirements.in and requirements-dev.in anew
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header -q requirements-dev.in -o requirements-dev.txt
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header -q -c requirements-dev.txt requirements.in -o requirements.txt

clean: down  ## remove the world's data; .venv stays
	rm -rf .world
