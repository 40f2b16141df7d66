# Every target sets up what it needs by itself: a virtual environment in .venv, containers from the distribution's packages.
SHELL := /bin/bash
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONPATH := $(CURDIR)/build/tree:$(CURDIR)/tests
export PYTHONDONTWRITEBYTECODE := 1
export CONTAINER_ENGINE := $(shell tests/tools/engine.sh)

.DEFAULT_GOAL := help
.PHONY: help venv fleet demo test test-fast lint sanity faults conformance numbers bench clean

help:
	@echo "make demo       roll a real application over six servers behind two balancers under load (under 5 minutes), then change a database (7 in all)"
	@echo "make test       the tests (about 40 minutes on two cores; TESTS=full for every variation of them, some hours)"
	@echo "make test-fast  unit tests, ruff and mypy (under 2 minutes)"
	@echo "make lint       ansible-lint, galaxy-importer, antsibull, ruff, mypy, yamllint"
	@echo "make sanity     ansible-test sanity"
	@echo "make faults     break rollouts on purpose, at every task boundary (about 75 minutes; FAULTS='--kind \"HAProxy reload\"')"
	@echo "make conformance  every balancer driver against the real program, in several versions; writes the documentation's table (about 12 minutes)"
	@echo "make numbers    measure what the project promises (ROW=name for one, ROW='one other' for two)"
	@echo "make bench      the same rollout side by side with a hand-written play"
	@echo "make clean      remove containers, networks, virtual environments and build/"

venv:
	@mkdir -p build && tests/tools/setup.sh venv

fleet: venv
	@tests/tools/setup.sh fleet deps

demo: fleet
	@python tests/demo/demo.py

test: fleet
	@python tests/tools/run_tests.py

test-fast: venv
	@python tests/tools/run_tests.py --fast

lint: venv
	@python tests/tools/run_tests.py ruff "mypy plugins" "mypy tests" lint

sanity: venv
	@tests/tools/sanity.sh

faults: fleet
	@python tests/faults/suite.py $(FAULTS)

conformance: fleet
	@python -m conformance.suite --all --table $(DRIVERS)

numbers: fleet
	@python tests/bench/numbers.py $(if $(ROW),--row $(ROW))

bench: fleet
	@python tests/bench/bench.py

clean:
	@[ ! -x .venv/bin/python ] || python tests/fleet/fleet.py clean
	@rm -rf build .venv .venvs .pytest_cache .mypy_cache .ruff_cache .hypothesis .ansible
