# Everything that a contributor or an operator runs. It needs git, make and Python 3.11 or newer (PYTHON=...);
# each target sets up what it uses. `make` alone lists the targets.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help up down outage recover demo test check conformance bench fuzz mutate build deploy clean host-build environments FORCE

PYTHON ?= python3
STACK ?= replant
REGION ?= $(or $(AWS_REGION),$(AWS_DEFAULT_REGION)) # where neither says, samplesconfig.toml does
REPLANT_CRDS ?= $(wildcard $(CURDIR)/../shared/crds)
export REPLANT_CRDS

# LAYERS says for whom the layers are built: `lambda` (Python 3.13 on Amazon Linux) or `host` (the embedded AWS
# runs functions in this machine's interpreter). ARCH names the processor, for the wheels and for the template.
LAYERS ?= lambda
HOST_ARCH := $(patsubst aarch64,arm64,$(shell uname -m))
ARCH ?= $(if $(filter host,$(LAYERS)),$(HOST_ARCH),x86_64)
$(if $(filter x86_64 arm64,$(ARCH)),,$(error ARCH must be x86_64 or arm64, not $(ARCH)))
export ARCH

UV := .venv-uv/bin/uv
DEV := .venv/bin
SAM := SAM_CLI_TELEMETRY=0 .venv-sam/bin/sam
LAMBDA_BUILD := .aws-sam/build
HOST_BUILD := .aws-sam-host/build

help: ## List the targets
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

up: environments host-build ## Start the embedded AWS and two clusters, deploy the template, load the sample documents
	@$(DEV)/python -m local up

down: .venv/.done ## Stop what `make up` started
	@$(DEV)/python -m local down

outage: .venv/.done ## Take a cluster's API server away (CLUSTER=east|west)
	@$(DEV)/python -m local outage $(CLUSTER)

recover: .venv/.done ## Bring a cluster back with its data (CLUSTER=east|west)
	@$(DEV)/python -m local recover $(CLUSTER)

demo: environments host-build ## Tell the whole story on this machine: a machine is restored, then a cluster is lost
	@$(DEV)/python -m local.demo

test: .venv/.done ## Check, build and run every test; prints how long each part took
	@$(DEV)/python -m local.build.timing check build=host-build programs unit=unit-tests \
		integration=integration-tests

check: check-style check-types check-imports check-spelling check-template check-security check-machines ## Style, types, import rules, spelling, template, state machines

conformance: .venv/.done ## Hold the simulation against the real controllers of a target, behaviour by behaviour
	@$(DEV)/python -m local.build.timing build=host-build programs=conformance-programs \
		behaviours=conformance-tests

bench: environments host-build ## Run the benchmarks (BENCH="NAME... --write" also writes docs/benchmarks.md)
	@$(DEV)/python -m bench $(BENCH)

# What reads bytes and texts that others wrote: any of them gives a model or a reason.
PARSERS := keys layouts_hostile layouts_longhorn image_headers images strict kubeconfig addresses sizes names patching mounted catalogue_function
fuzz: environments ## Try the parsers with a hundred times as many examples, and all races; what it finds is tried first from then on
	HYPOTHESIS_PROFILE=fuzz $(DEV)/python -m pytest --timeout 0 --numprocesses logical $(PARSERS:%=tests/unit/test_%.py) \
		tests/unit/test_ingest_races.py

# The unit tests find the genuine files beside the project; a mutant's copy of it lies one level deeper.
mutate: .venv-mutate/.done ## Change the pure code and see which changes no test notices (MUTANTS="shared.restore.* ...")
	REPLANT_FIXTURES=$(abspath $(or $(REPLANT_FIXTURES),../shared/fixtures)) .venv-mutate/bin/mutmut run $(MUTANTS)
	.venv-mutate/bin/mutmut results | sed '/: not checked$$/d'

build: environments ## Build the functions and layers for AWS Lambda (ARCH=x86_64|arm64)
	@$(call sam-build,lambda,$(ARCH),$(LAMBDA_BUILD))
	@$(if $(COMPILER_lambda),,echo "Without bytecode, since no Python 3.13 is here: first imports take longer.")
	@$(DEV)/python -m local.build.artifacts $(LAMBDA_BUILD)

# The change set is shown and asked about where somebody can answer, and carried out where nobody can.
deploy: build ## Build and deploy to AWS (STACK=name, REGION=..., ARCH=..., PARAMETERS="Name=value ...")
	$(SAM) deploy --stack-name $(STACK) $(addprefix --region ,$(REGION)) $$([ -t 0 ] || echo --no-confirm-changeset) \
		--parameter-overrides Architecture=$(ARCH) $(PARAMETERS)

clean: ## Remove builds and environments (refused while up)
	@if [ -e .replant/runtime.json ]; then echo "It is up: make down first." >&2; exit 1; fi
	rm -rf .venv .venv-* .aws-sam .aws-sam-host build mutants .coverage .replant

# --- Parts of the targets above ---------------------------------------------------------------------------

.PHONY: check-style check-types check-imports check-spelling check-template check-security check-machines
check-style: environments
	$(DEV)/ruff check .
	$(DEV)/ruff format --check .

check-types: environments
	$(DEV)/mypy

check-imports: environments
	$(DEV)/lint-imports

check-spelling: environments
	$(DEV)/codespell

check-template: environments
	$(SAM) validate --lint --region us-east-1

# Offline: without a key it asks nobody. What is not followed has its reason in the resource's metadata.
check-security: environments
	.venv-checkov/bin/checkov --quiet --compact --skip-download --framework cloudformation --file template.yaml

check-machines: environments
	$(DEV)/python -m local.build.lint

# Before the tests, whose time is limited: the first build takes minutes.
.PHONY: programs
programs: .venv/.done
	@$(DEV)/python -m local.binaries

.PHONY: conformance-programs conformance-tests
conformance-programs: .venv/.done
	@$(DEV)/python -m local.binaries conformance

conformance-tests: environments
	$(DEV)/python -m pytest tests/conformance

.PHONY: unit-tests integration-tests
unit-tests: environments
	$(DEV)/coverage erase
	$(DEV)/coverage run -m pytest --numprocesses logical --dist worksteal tests/unit
	$(DEV)/coverage combine --quiet
	$(DEV)/coverage report

integration-tests: environments
	$(DEV)/python -m pytest --numprocesses 2 --dist loadfile tests/integration

.PHONY: schemas
schemas: environments ## Write docs/schemas anew, after a change of our documents' models
	$(DEV)/python -m local.build.schemas

host-build: environments
	@$(call sam-build,host,$(HOST_ARCH),$(HOST_BUILD))

# $(1) for whom, $(2) architecture, $(3) build folder; SAM is told by the environment, see below
sam-build = mkdir -p build; LAYERS=$(1) ARCH=$(2) $(SAM) build --parameter-overrides Architecture=$(2) --build-dir $(3) \
	> build/$(1).log 2>&1 || { cat build/$(1).log >&2; exit 1; }

# --- Environments: made again when their requirements change ---------------------------------------------

environments: .venv/.done .venv-sam/.done .venv-cloud/.done .venv-checkov/.done

.venv/.done: requirements/dev.txt requirements/core.txt
.venv-sam/.done: requirements/sam.txt
.venv-cloud/.done: requirements/cloud.txt
.venv-checkov/.done: requirements/checkov.txt
.venv-mutate/.done: requirements/mutate.txt requirements/dev.txt requirements/core.txt

.venv/.done .venv-sam/.done .venv-cloud/.done .venv-checkov/.done .venv-mutate/.done: | $(UV)
	$(UV) venv --quiet --clear --no-python-downloads --python .venv-uv/bin/python $(@D)
	$(UV) pip sync --quiet --require-hashes --python $(@D) $(filter %.txt,$^)
	mkdir -p build
	touch $@

.venv-uv/bin/uv: requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.version_info < (3, 11) and sys.exit("Python 3.11 or newer is needed; name one: PYTHON=...")'
	rm -rf .venv-uv
	$(PYTHON) -m venv .venv-uv
	.venv-uv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

# --- What SAM calls for each resource with `BuildMethod: makefile` ---------------------------------------
# Layers are kept in build/ per audience and architecture and linked into SAM's artifacts: SAM's own cache
# sees neither environment variables nor that only the requirements matter.

LAYER_DIR := build/layers/$(LAYERS)-$(ARCH)
PLATFORM := $(patsubst arm64,aarch64,$(ARCH))-manylinux2014
FOR_lambda := --python .venv-uv/bin/python --python-version 3.13 --python-platform $(PLATFORM) --only-binary :all:
FOR_host := --python .venv-cloud
# A build for Lambda is what plain `sam build` does, which needs no environment of ours but uv's.
NEEDS_lambda := $(UV)
NEEDS_host := .venv-cloud/.done
# Bytecode of another version is useless, so a build for Lambda has some only where a Python 3.13 is.
COMPILER_lambda = $(shell for each in python3.13 $(PYTHON) python3 $(wildcard $(HOME)/.pyenv/versions/3.13.*/bin/python3); do \
	$$each -c 'import sys; sys.version_info[:2] != (3, 13) and sys.exit(1)' 2>/dev/null && echo $$each && break; done)
COMPILER_host := .venv-cloud/bin/python

build-CoreLayer: build-%: $(LAYER_DIR)/%/.done
	mkdir -p $(ARTIFACTS_DIR)
	cp -al $(<D)/python $(ARTIFACTS_DIR)/ || cp -a $(<D)/python $(ARTIFACTS_DIR)/

$(LAYER_DIR)/CoreLayer/requirements.txt: requirements/core.txt
	mkdir -p $(@D)
	cp $< $@

$(LAYER_DIR)/%/.done: $(LAYER_DIR)/%/requirements.txt $(NEEDS_$(LAYERS))
	rm -rf $(@D)/python
	$(UV) pip install --quiet --no-deps --require-hashes --link-mode copy $(FOR_$(LAYERS)) \
		--target $(@D)/python -r $<
	rm -rf $(@D)/python/bin $(@D)/python/.lock
	find $(@D)/python -depth -type d \( -name tests -o -name __pycache__ \) -exec rm -rf {} +
	$(call compile,$(@D)/python)
	touch $@

# unchecked: unpacking gives every file a new date, which would make ordinary bytecode stale
compile = $(if $(COMPILER_$(LAYERS)),$(COMPILER_$(LAYERS)) -m compileall -q -j 0 --invalidation-mode unchecked-hash $(1))

# A function ships functions/<itself>.py and shared/ without what an operator runs. Some parts of
# shared/ are not imported by some functions, but which ones is decided by the imports alone.
build-%Function: module = $(shell sed -E 's/([a-z])([A-Z])/\1_\2/g' <<< $* | tr A-Z a-z)
build-%Function: FORCE
	mkdir -p $(ARTIFACTS_DIR)/functions
	cp functions/__init__.py functions/$(module).py $(ARTIFACTS_DIR)/functions/
	cp -r shared $(ARTIFACTS_DIR)/
	rm -rf $(ARTIFACTS_DIR)/shared/commands
	find $(ARTIFACTS_DIR) -name __pycache__ -prune -exec rm -rf {} +
	$(call compile,$(ARTIFACTS_DIR))

FORCE:
