# make run: set up and run the default workflow. make test: set up and run all tests. Both work offline after the install.
PYTHON ?= python3.11
CORES ?= all
TABLES_DIR ?=
VENV := .venv
BIN := $(VENV)/bin
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES) $(if $(TABLES_DIR),--config tables_dir=$(abspath $(TABLES_DIR)))
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: run tables bars searches test setup bench bench-zoo lint clean datasheets

run: setup
	@$(SNAKEMAKE)
	@$(MAKE) --no-print-directory results/report.html
	@$(BIN)/archgauge where

results/report.html: $(wildcard results/tables/*.md results/figures/*.svg)
	@$(SNAKEMAKE) --report $@

SHEETS := datasheets gennape_table2 gennape_figure2 transferable_table5

datasheets: setup
	@$(SNAKEMAKE) -- $(SHEETS)
	@$(SNAKEMAKE) --report results/datasheets/report.html -- $(SHEETS)
	@echo "Data sheets: results/datasheets, all in one report: results/datasheets/report.html"

# What needs training, search or proxies of the tables and figures of GENNAPE and of the transferable predictor.
PAPERS := $(foreach n,1 2 3 4,transferable_table$(n)) $(foreach n,1 3 4 5 6 7 8 9 10,gennape_table$(n)) gennape_figure5

tables: setup
	@$(SNAKEMAKE) --keep-going -- $(PAPERS)

# GENNAPE's tables of transfers at the sizes of profiles/bars, beside the default results: TABLES_DIR names the labels.
bars: setup
	@mkdir -p results/bars
	@$(SNAKEMAKE) --workflow-profile profiles/bars --directory results/bars -- bars

# The transferable predictor's tables of searches, with profiles/searches, beside the default results.
searches: setup
	@mkdir -p results/searches
	@$(SNAKEMAKE) --workflow-profile profiles/searches --directory results/searches -- searches

test: setup
	@$(BIN)/python -m pytest

bench: setup
	@$(BIN)/python -m archgauge.bench

bench-zoo: setup
	@$(BIN)/python -m archgauge.bench_zoo

lint: setup
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/snakefmt --check Snakefile rules && $(BIN)/snakemake --lint && $(BIN)/mypy

setup: $(VENV)/.ready

$(VENV)/.ready: requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Archgauge needs Python 3.11, and there is no $(PYTHON) on the PATH. Install it (Debian 12: apt install python3.11-venv) or run: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { echo "Archgauge needs Python 3.11; $(PYTHON) is $$($(PYTHON) --version 2>&1 | grep . | head -n 1). Run: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) has no venv module. On Debian: apt install python3.11-venv"; exit 1; }
	@echo "Installing the packages of requirements.lock into $(VENV) (some minutes, about 2 GB)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

clean: # downloads stay
	find results -mindepth 1 -maxdepth 1 ! -name downloads ! -name .gitkeep -exec rm -rf {} +
	rm -rf .snakemake
