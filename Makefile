# `make` lists the targets. Everything is installed into $(VENV), at the versions in constraints.txt.
PYTHON ?= python3
VENV ?= .venv
# Package index to take torch from, for a CPU-only build: make mlm TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
# More flags for the recipe: make mlm ARGS="--max_minutes 30"
ARGS ?=

BIN := $(VENV)/bin
TORCH := $(shell grep '^torch==' constraints.txt)
INSTALLED := $(VENV)/installed
# All that accelerate would otherwise announce its defaults of.
LAUNCH := $(BIN)/accelerate launch --quiet --num_processes 1 --num_machines 1 --mixed_precision no --dynamo_backend no
# A process for each core; a file's tests stay together, since they share what is made once.
SPREAD := --numprocesses $(shell nproc 2>/dev/null || echo auto) --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help setup mlm clm glue fewshot test test-all check format bench bench-quick bench-quality

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(INSTALLED) ## make .venv and install what constraints.txt pins

$(INSTALLED): pyproject.toml constraints.txt
	@echo "Installing $(TORCH) from $(or $(TORCH_INDEX),the default package index: on Linux with x86-64 that may be the CUDA build of several GB; for a CPU-only build give TORCH_INDEX=https://download.pytorch.org/whl/cpu)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet $(TORCH) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) --constraint constraints.txt
	$(BIN)/pip install --quiet --editable '.[test]' --constraint constraints.txt
	@touch $@

mlm: $(INSTALLED) ## set up, then train a BERT from scratch: the main job
	$(LAUNCH) recipes/mlm.py $(ARGS)

clm: $(INSTALLED) ## set up, then train a GPT from scratch
	$(LAUNCH) recipes/clm.py $(ARGS)

glue: $(INSTALLED) ## set up, then adapt what `make mlm` left to the built-in tasks
	$(LAUNCH) recipes/glue.py $(ARGS)

fewshot: $(INSTALLED) ## set up, then ask what `make clm` left by prompts
	$(LAUNCH) recipes/fewshot.py $(ARGS)

test: $(INSTALLED) ## set up, then run the tests
	$(BIN)/python -m pytest $(SPREAD) -m "not slow" --durations 10

test-all: $(INSTALLED) ## run the tests with the long matrices
	$(BIN)/python -m pytest $(SPREAD)

check: $(INSTALLED) ## format, lint, types and the quick tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest $(SPREAD) -q -m "not slow and not multiprocess"

format: $(INSTALLED) ## put the code into its format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(INSTALLED) ## speed and memory against the stock tools, side by side: the table, about an hour
	$(BIN)/python benchmarks/bench.py

bench-quick: $(INSTALLED) ## less of each, for a look; nothing is kept
	$(BIN)/python benchmarks/bench.py --quick

bench-quality: $(INSTALLED) ## minutes until the loss that the stock side has after 20: hours, goes on where it was
	$(BIN)/python benchmarks/time_to_loss.py masked $(ARGS)
	$(BIN)/python benchmarks/time_to_loss.py causal $(ARGS)
