# Everything a person or a machine runs here. `make help` lists it.
#
#   PYTHON=…       interpreter for the virtual environment (3.11 or newer)
#   VENV=…         where that environment lives
#   TORCH_INDEX=…  one more package index, for a CPU or another build of torch
#   WORKERS=…      test processes
#   ARGS=…         passed on to pytest, or to each benchmark

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; \
	done)
VENV ?= .venv
WORKERS ?= 2
DEMO := runs/demo
CHAIN := runs/demo-chain

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-input \
	$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
PINNED := pyproject.toml constraints.txt

# Small models run fastest on one thread a process, and nothing here may need a network.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false
export HF_HUB_OFFLINE ?= 1
export HF_HUB_DISABLE_TELEMETRY ?= 1
# Without kept bytecode every process compiles hundreds of modules, for seconds, anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo demo-chain test test-slow lint format docs bench

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.has-train  ## three tiny transformers play red-team for three rounds and learn
	@if [ -e $(DEMO) ]; then rm -rf $(DEMO).old && mv $(DEMO) $(DEMO).old; fi
	@$(BIN)/superalign train preset=demo run_dir=$(DEMO)
	@echo
	@echo "every word of it   $(BIN)/superalign ls $(DEMO)"
	@echo "the long story     make demo-chain"
	@echo "the report         open this in a browser:"
	@$(BIN)/superalign report $(DEMO)

demo-chain: $(VENV)/.has-train  ## three generations, each supervised by the last, and their report
	@if [ -e $(CHAIN) ]; then rm -rf $(CHAIN).old && mv $(CHAIN) $(CHAIN).old; fi
	@$(BIN)/superalign train preset=chain run_dir=$(CHAIN)
	@echo
	@echo "every word of it   $(BIN)/superalign ls $(CHAIN)"
	@echo "the report         open this in a browser:"
	@$(BIN)/superalign report $(CHAIN)

test: $(VENV)/.has-test  ## all tests but the slow ones; `make lint` has types and style
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal $(ARGS)

test-slow: $(VENV)/.has-slow  ## kills, long fuzzing, benchmarks, reports in a browser
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal -m slow --timeout 3600 $(ARGS)

lint: $(VENV)/.has-test  ## style, types, import law, generated pages
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@PYTHONPATH=.:agents:scenarios:training $(BIN)/lint-imports --no-cache
	@$(BIN)/python docs/_generate.py --check

format: $(VENV)/.has-test  ## apply the style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: $(VENV)/.has-test  ## write the generated parts of docs/ anew
	@$(BIN)/python docs/_generate.py

bench: $(VENV)/.has-bench  ## every benchmark, quickly; ARGS= for the full length
	@for script in $$(grep -l __main__ benchmarks/*.py); do \
		echo "== $$script"; $(BIN)/python $$script $(or $(ARGS),--quick) || exit 1; \
	done

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/it …"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@

# An installed extra is current until the pins change. [test] holds [train], [bench] both.
# torch is resolved in the same call as everything else, or its pin would come too late.
$(VENV)/.has-train: $(VENV)/.made $(PINNED)
	@echo "installing superalign-env[train] into $(VENV) (once, about two minutes) …"
	@$(PIP) -c constraints.txt -e '.[train]'
	@touch $@

$(VENV)/.has-test: $(VENV)/.made $(PINNED)
	@echo "installing superalign-env[test] into $(VENV) (once, about two minutes) …"
	@$(PIP) -c constraints.txt -e '.[test]'
	@touch $(VENV)/.has-train $@

$(VENV)/.has-slow: $(VENV)/.made $(PINNED)
	@echo "installing superalign-env[slow] into $(VENV) (once, about two minutes) …"
	@$(PIP) -c constraints.txt -e '.[slow]'
	@touch $(VENV)/.has-train $(VENV)/.has-test $@

$(VENV)/.has-bench: $(VENV)/.made $(PINNED)
	@echo "installing superalign-env[bench] into $(VENV) (once, about two minutes) …"
	@$(PIP) -c constraints.txt -e '.[bench]'
	@touch $(VENV)/.has-train $(VENV)/.has-test $@
