# Every command sets up what it needs first; only a changed lock file makes it do so again.
.DEFAULT_GOAL := help
.PHONY: help setup demo up test test-long bench check format entities openapi reference examples screenshots breaking build lock clean
unexport PYTHONDONTWRITEBYTECODE

PYTHON := .venv/bin/python
READY := .venv/.ready
SAM := .tools/sam/bin/sam
SAM_READY := .tools/sam/.ready
WITH_SAM := AWS_DEFAULT_REGION=us-east-1 SAM_CLI_TELEMETRY=0 PATH="$(CURDIR)/.venv/bin:$$PATH" $(SAM)
CODE := functions layers local tests worker benchmarks clients
COMPILE := --python-version 3.13 --generate-hashes --no-header --no-annotate --quiet

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): requirements-dev.lock local/setup.sh
	@local/setup.sh

$(SAM_READY): requirements-sam.lock local/setup.sh
	@local/setup.sh sam

setup: $(READY) ## Install Python 3.13 (where missing) and all packages into .venv.

demo: $(READY) ## Start everything, watch an export and a backup, then serve until Ctrl-C.
	@$(PYTHON) -m local demo $(ARGS)

up: $(READY) ## Start everything and serve until Ctrl-C.
	@$(PYTHON) -m local up $(ARGS)

test: $(READY) ## Run the tests on the real stack but the long ones; ARGS="-k name" chooses, ARGS="-n 0" runs one after another.
	@$(PYTHON) -m pytest -n auto --dist loadfile -m "not long" $(ARGS)

test-long: $(READY) ## Run all tests, with ten times as many random cases, drawn anew each time.
	@$(PYTHON) -m pytest -n auto --dist loadfile --hypothesis-profile=long $(ARGS)

bench: $(READY) ## Measure, each figure against a floor.
	@$(PYTHON) -m benchmarks $(ARGS)

check: $(READY) $(SAM_READY) ## Format, lint, types, template.
	@$(PYTHON) -m ruff format --check $(CODE)
	@$(PYTHON) -m ruff check $(CODE)
	@$(PYTHON) -m mypy
	@$(WITH_SAM) validate --lint --template template.yaml

format: $(READY) ## Format the code.
	@$(PYTHON) -m ruff check --select I --fix --quiet $(CODE)
	@$(PYTHON) -m ruff format $(CODE)

entities: $(READY) ## Compile the declarations of tables, layers/entities/*.toml.
	@$(PYTHON) -m stowage.entities build

openapi: $(READY) ## Write the API's document from the template and the handlers.
	@$(PYTHON) -m local.openapi

reference: $(READY) ## Write docs/reference.md: parameters, variables, commands.
	@$(PYTHON) -m local.reference

examples: $(READY) ## Record the examples in that document anew, from a running stack.
	@PYTHONPATH=layers/stowage:layers/entities:functions $(PYTHON) -m tests.examples
	@$(PYTHON) -m local.openapi

screenshots: $(READY) ## Make the pictures of the console anew, from a running stack.
	@$(PYTHON) -m local.screenshots

breaking: $(READY) ## Say what breaks the API's clients; ARGS=--release begins anew after a release.
	@$(PYTHON) -m local.breaking $(ARGS)

build: $(READY) $(SAM_READY) entities ## Build what `sam deploy` uploads, without a container.
	@$(WITH_SAM) build

lock: ## Make the lock files anew from the .in files; ARGS=--upgrade takes new versions.
	@uv=$$(command -v uv || echo .tools/uv/bin/uv); \
	$$uv pip compile $(COMPILE) $(ARGS) requirements-dev.in -o requirements-dev.lock && \
	$$uv pip compile $(COMPILE) -c requirements-dev.lock layers/dependencies/requirements.in -o layers/dependencies/requirements.txt && \
	$$uv pip compile $(COMPILE) -c requirements-dev.lock worker/requirements.in -o worker/requirements.txt && \
	$$uv pip compile $(COMPILE) $(ARGS) requirements-sam.in -o requirements-sam.lock

clean: ## Remove what commands made: data, builds, caches. .venv and .tools stay.
	@rm -rf .stowage .aws-sam .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
