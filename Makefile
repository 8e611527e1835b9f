# Everything a contributor or a user runs. `make` alone prints the list below.
# Each target makes its own environment in .venv first; only Python, pip and make are needed.

PYTHON ?= python3
VENV   ?= .venv
# Test processes. Each runs torch on one thread, so this is also the number of cores in use.
JOBS   ?= auto
RUNS   ?= runs

BIN     := $(VENV)/bin
SOURCES := src tests benchmarks examples docs/conf.py
PYTEST  := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --maxprocesses 4

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow check fmt bench docs dist clean

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# A new folder for every demo, so that an earlier one is neither in the way nor overwritten.
demo: OUT := $(RUNS)/digits-$(shell date +%Y%m%d-%H%M%S)
demo: $(VENV)/.runtime ## Search, train, report, compress and heal on handwritten digits (CPU, no download)
	@$(BIN)/widthwise search digits --out $(OUT)
	@echo "Open it in a browser: file://$(abspath $(OUT))/report.html"
	@echo "Now a trained network, cut and healed without labels (under a minute):"
	@$(BIN)/python examples/05_compress.py

test: $(VENV)/.dev ## Run the tests, a few minutes on two cores
	@$(PYTEST)

test-slow: $(VENV)/.dev ## Run the long tests too: every network of the reach list, heavier properties
	@WIDTHWISE_HYPOTHESIS=explore $(PYTEST) -m "slow or not slow"

check: $(VENV)/.dev ## Formatting, lint and types, as CI runs them
	@$(BIN)/ruff format --check $(SOURCES)
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/mypy

fmt: $(VENV)/.dev ## Format the code and apply the lint fixes that are safe
	@$(BIN)/ruff format $(SOURCES)
	@$(BIN)/ruff check --fix $(SOURCES)

bench: $(VENV)/.dev ## Measure the figures in benchmarks/results/ again, on one core
	@for script in core search_step data_pipeline summary; do \
		OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python benchmarks/$$script.py || exit 1; done

docs: $(VENV)/.docs ## Build the documentation site in build/docs; a warning is an error
	@$(BIN)/python -m sphinx -q -E -W docs build/docs
	@echo "Open it in a browser: file://$(abspath build/docs/index.html)"

# The wheel is tried where nothing of this folder can stand in for it.
dist: $(VENV)/.release ## Build wheel and sdist in dist/, and try the wheel in an environment of its own
	@rm -rf dist build/wheel
	@$(BIN)/python -m build --outdir dist
	@$(BIN)/python -m twine check --strict dist/*
	@$(PYTHON) -m venv build/wheel/venv
	@build/wheel/venv/bin/python -m pip install --quiet --disable-pip-version-check dist/*.whl
	@cd build/wheel && venv/bin/widthwise --help > /dev/null
	@cd build/wheel && venv/bin/widthwise trace widthwise/resnet20
	@cd build/wheel && venv/bin/widthwise search digits --search.epochs 1 --converge.epochs 1 --out run
	@ls -l dist

clean: ## Remove the environment, caches and builds; runs/ stays
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps are written last: an interrupted install is taken up again by the next make.
$(VENV)/.runtime: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "widthwise needs Python 3.11 or newer; '$(PYTHON)' is" \
			"$$($(PYTHON) --version 2>/dev/null || echo missing)." >&2; \
		echo "Hint: name another one, such as: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Making the environment in $(VENV) (the first time takes minutes: PyTorch is large)"
	@$(PYTHON) -m venv $(VENV) || { \
		echo "Hint: on Debian and Ubuntu, venv is a package of its own: python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@

$(VENV)/.docs: $(VENV)/.runtime
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[docs]"
	@touch $@

$(VENV)/.release: $(VENV)/.runtime
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[release]"
	@touch $@
