# Two commands for a newcomer: `make demo` and `make test`. VENV may lie anywhere and is reused.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
LOCK := $(shell $(PYTHON) -c "import hashlib,pathlib;print(hashlib.sha256(b''.join(pathlib.Path(p).read_bytes() for p in ('requirements.lock','pyproject.toml'))).hexdigest()[:16])")
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock
PORT ?= 8000

.PHONY: help install demo test lint bench guard clean

help:
	@echo "make demo    install, start the platform here, decide real requests, train a tiny model privately"
	@echo "make test    install the development tools and run the tests"
	@echo "make lint    ruff, mypy --strict, import layers"
	@echo "make bench   print the benchmark tables"
	@echo "make guard   train the guard bundle anew (DATA=folder of the public sets)"
	@echo "make clean   stop the local cluster; remove caches and the environment in .venv"

$(VENV)/.base-$(LOCK):
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (about a minute) ..."
	@$(INSTALL) hatchling editables
	@$(INSTALL) --no-build-isolation -e .
	@touch $@

$(VENV)/.train-$(LOCK): $(VENV)/.base-$(LOCK)
	@echo "installing what training needs (a few minutes; torch is among it) ..."
	@$(INSTALL) --no-build-isolation -e '.[train]'
	@touch $@

$(VENV)/.dev-$(LOCK): $(VENV)/.base-$(LOCK)
	@echo "installing the development tools (a few minutes; torch is among them) ..."
	@$(INSTALL) --no-build-isolation -e '.[dev]'
	@touch $@ $(VENV)/.train-$(LOCK)

install: $(VENV)/.dev-$(LOCK)

demo: $(VENV)/.base-$(LOCK)
	@$(BIN)/acgs demo --port $(PORT)
	@$(MAKE) --no-print-directory $(VENV)/.train-$(LOCK)
	@$(BIN)/acgs demo train

test: $(VENV)/.dev-$(LOCK)
	@$(BIN)/python -m pytest -n 2 --dist loadscope --cov --cov-report=term-missing:skip-covered $(ARGS)

lint: $(VENV)/.dev-$(LOCK)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy platform/acgs serve_apps train_jobs tune_sweeps
	@$(BIN)/lint-imports

bench: $(VENV)/.dev-$(LOCK)
	@$(BIN)/python -m benchmarks

guard: $(VENV)/.dev-$(LOCK)
	@$(BIN)/python -m train_jobs.guard --data $(or $(DATA),../shared/data) --output platform/acgs/governance/guard_bundle

clean:
	@-test -x $(BIN)/acgs && $(BIN)/acgs cluster down
	@rm -rf .venv .acgs .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .import_linter_cache
