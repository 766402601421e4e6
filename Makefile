# Two commands set everything up on a fresh machine with Python >= 3.11, git and make:
#   make run    a node with a demo prefix, checked by itself, that stays up   (make run ARGS=--exit ends after the check)
#   make test   linters, types and every test, real clients included
# PYTHON=python3.12 make run  chooses the interpreter; VENV=folder another virtual environment.

VENV ?= .venv
ARGS ?=
BIN := $(VENV)/bin
RUNNABLE := $(VENV)/.idnode-run
TESTABLE := $(VENV)/.idnode-dev

.PHONY: run test prove fuzz bench lint format clean distclean help
.DEFAULT_GOAL := help

help:
	@sed -n 's/^#   //p' Makefile
	@echo 'make fuzz   millions of hostile inputs      make prove   the runs that take hours'
	@echo 'make bench  ten minutes of measurements        make lint    ruff, mypy, deptry     make clean'

# The stamps are older than pyproject.toml exactly when the dependencies may have changed.
$(RUNNABLE): pyproject.toml
	@scripts/venv.sh $(VENV)
	@touch $@

$(TESTABLE): pyproject.toml
	@scripts/venv.sh $(VENV) dev
	@touch $(RUNNABLE) $@

run: $(RUNNABLE)
	@$(BIN)/idnode up --self-check $(ARGS)

lint: $(TESTABLE)
	@echo '== ruff';   $(BIN)/ruff check --quiet --output-format concise . && $(BIN)/ruff format --quiet --check .
	@echo '== mypy';   $(BIN)/mypy --no-error-summary
	@echo '== deptry'; $(BIN)/deptry --no-ansi idnode protocol registry bench 2>&1 | scripts/quiet.sh 'Success!'

test: $(TESTABLE)
	@scripts/system-packages.sh
	@$(MAKE) --no-print-directory lint
	@echo '== pytest'; $(BIN)/python scripts/run_tests.py $(ARGS)

fuzz: $(TESTABLE)
	@IDNODE_CAMPAIGN=fuzz $(BIN)/python -m pytest -m fuzz --timeout=0 $(ARGS)

prove: $(TESTABLE)
	@scripts/system-packages.sh
	@IDNODE_CAMPAIGN=prove $(BIN)/python -m pytest -m 'prove or serial or fuzz or grows' --timeout=0 $(ARGS)

bench: $(RUNNABLE)
	@$(BIN)/idnode bench all $(ARGS)

format: $(TESTABLE)
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format --quiet .

clean:
	@rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* htmlcov
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean
	@rm -rf $(VENV)
