# `make` lists what there is to do; every target sets itself up. ARGS="…" is passed on to the command.
.DEFAULT_GOAL := help
.PHONY: help setup train study compare leaderboard lab report serve ui sync test bench check clean

PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.installed ## make the virtual environment and install what requirements.lock pins

.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "error: Python 3.11 or newer is needed, $(PYTHON) is older; name another with PYTHON=…" >&2; exit 2; }
	@echo "setting up .venv, once: about a minute"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --requirement requirements.lock 2> .venv/pip.log || { cat .venv/pip.log >&2; exit 1; }
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable . 2>> .venv/pip.log || { cat .venv/pip.log >&2; exit 1; }
	@touch $@

train: setup ## train a network: make train ARGS="data=iris optimizer=sgd"
	@$(BIN)/pipeline train $(ARGS)

study: setup ## search settings: make study ARGS="data=iris search=optimizers study.n_trials=30"
	@$(BIN)/pipeline study $(ARGS)

compare: setup ## vary settings over seeds: make compare ARGS="vary.optimizer=[sgd,adam] seeds=5"
	@$(BIN)/pipeline compare $(ARGS)

leaderboard: setup ## rank models and baselines: make leaderboard ARGS="data=iris seeds=5"
	@$(BIN)/pipeline leaderboard $(ARGS)

lab: setup ## see why it works: run the ready comparisons, in under ten minutes
	@for file in conf/comparison/*.yaml; do \
		$(BIN)/pipeline compare comparison=$$(basename $$file .yaml) $(ARGS) || exit $$?; \
	done
	@echo "the figures: $(BIN)/pipeline ui, runs of kind 'comparison'"

report: setup ## one HTML page of a run or study: make report ARGS="RUN"
	@$(BIN)/pipeline report $(ARGS)

serve: setup ## serve the best model over HTTP: make serve ARGS="--port 8001"
	@$(BIN)/pipeline serve $(ARGS)

ui: setup ## browse the runs in the MLflow UI: make ui ARGS="--port 5001"
	@$(BIN)/pipeline ui $(ARGS)

sync: setup ## write what could not be tracked while the server was away
	@$(BIN)/pipeline sync $(ARGS)

test: setup ## run the tests: make test ARGS="-k resume"
	@$(BIN)/python -m pytest $(ARGS)

bench: setup ## measure speed, as ratios: make bench ARGS="steps reading"
	@$(BIN)/python -m tests.benchmarks $(ARGS)

check: setup ## lint, format and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

clean: ## remove the virtual environment and caches; mlruns/ stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
