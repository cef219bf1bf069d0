VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
BENCH  := $(VENV)/.bench

.PHONY: setup demo snippet test wide long lint types docs check bench dist clean

setup: $(READY)

$(READY): setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	touch $@

# Open the printed address; Ctrl+C ends it.
demo: $(READY)
	$(BIN)/clickmw demo $(ARGS)

# The browser's files from static/source/, packed; needs node and npm. A test compares them.
snippet:
	mkdir -p .conformance/snippet
	cp static/source/package.json .conformance/snippet/
	cd .conformance/snippet && npm install --no-package-lock --no-audit --no-fund --ignore-scripts
	cd .conformance/snippet && node ../../static/source/build.mjs

test: $(READY)
	$(BIN)/python -m pytest -m "not long and not wide" $(ARGS)

# Also every page in a browser, every server, every framework: what a change must pass.
wide: $(READY)
	$(BIN)/python -m pytest -m "not long" $(ARGS)

# Kill loops, large property tests: minutes, not seconds.
long: $(READY)
	$(BIN)/python -m pytest $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

# The documentation as a site, in build/site; a warning is an error.
docs: $(READY)
	$(BIN)/mkdocs build --quiet --strict

check: wide lint types docs

$(BENCH): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev,bench]"
	touch $@

# Interleaved rounds, ratios; writes benchmarks/RESULTS.md.
bench: $(BENCH)
	$(BIN)/python -m benchmarks $(ARGS)

dist: $(READY)
	$(BIN)/python -m build --outdir dist .

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
