# `make run` and `make test` need nothing done before them; `make setup` installs into .venv alone.

SHELL := /bin/bash
# uv, if the machine has it; otherwise it is installed into .uv with the machine's own Python.
UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
RUN := .venv/bin
# Every worker imports the same modules when it starts: they are compiled once, whatever this variable says.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup compile run test lint format bench load soak
.DEFAULT_GOAL := help

help: ## Show the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: compile ## Install what is missing, into .venv, and compile what requests run through, if it can be

compile: .venv/.installed
	@$(RUN)/python .ci/compile.py

run: setup ## Run the gateway with two demo backends; Ctrl-C ends all of it
	@exec $(RUN)/coregateway demo $(ARGS)

# Hypothesis draws the same examples each time here; plain `pytest` draws new ones. To compile and to check types take
# a core each. Most of the tests' time is waiting, hence more processes than cores. How tests are dealt out: tests/scheduling.py.
test: .venv/.installed ## Check style and types, then run the whole test suite
	@$(MAKE) --no-print-directory --jobs=2 --output-sync compile lint
	$(RUN)/pytest -n 4 --dist loadscope --hypothesis-profile=ci

bench: setup ## Compare the gateway with its peers, side by side
	$(UV) sync --quiet --inexact --group bench
	$(RUN)/python benchmarks/compare.py $(ARGS)

load: setup ## Call a gateway with demo backends as its users would, by locust
	$(UV) sync --quiet --inexact --group bench
	$(RUN)/python benchmarks/load.py $(ARGS)

soak: setup ## Send mixed traffic for an hour, and fail on what grows
	$(RUN)/python -m tests.endurance.soak $(ARGS)

lint: .venv/.installed ## Check style and types
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/pyright

format: setup ## Format the code
	$(RUN)/ruff format .
	$(RUN)/ruff check --fix .

.uv/bin/uv:
	python3 -m venv .uv
	.uv/bin/pip install --quiet --disable-pip-version-check uv

.venv/.installed: pyproject.toml .python-version | $(filter .uv/bin/uv,$(UV))
	UV_COMPILE_BYTECODE=1 $(UV) sync --quiet --inexact
	$(RUN)/python -m compileall -q coregateway
	touch $@
