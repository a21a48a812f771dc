# `make demo` runs the main job, `make test` runs the tests; both set everything up first.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$name"; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
UV := $(or $(shell uv --version >/dev/null 2>&1 && echo uv),.tools/bin/uv)
WORKERS ?= 3
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tuning-operator
SOURCES := operator trainer tests benchmarks examples helm images

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  \033[1m%-16s\033[0m %s\n", $$1, $$2}'

.tools/bin/uv: requirements/uv.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed; install it or say PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv .tools
	.tools/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

$(VENV)/.ready: requirements/dev.txt pyproject.toml | $(filter .tools/bin/uv,$(UV))
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed; install it or say PYTHON=/path/to/python"; exit 1; }
	@test -x $(BIN)/python || $(UV) venv --quiet --python $(PYTHON) $(VENV)
	@echo "Installing the pinned dependencies (torch is large: about a minute the first time, seconds from the cache)"
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(UV) pip sync --quiet --compile-bytecode --require-hashes requirements/dev.txt
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: setup
setup: $(VENV)/.ready ## Make the virtual environment with every pinned dependency

.PHONY: demo
demo: setup ## Run the digits job: 16 trials on this machine, then its report
	$(BIN)/tuning run examples/digits.yaml --directory runs/demo-$(shell date +%Y%m%d-%H%M%S)

.PHONY: test
test: setup browser lint typecheck verify pytest ## Run every check, and all tests but those of test-thorough

.PHONY: pytest
pytest: setup ## Run the tests alone, WORKERS= files at once (the third one when the others wait); ARGS= are passed on
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile $(ARGS)

.PHONY: test-thorough
test-thorough: setup ## Run the tests that `make test` leaves out, because a quicker one shows nearly the same
	$(BIN)/python -m pytest -m thorough $(ARGS)

.PHONY: browser
browser: # In CI the report must be opened in a real browser; elsewhere the test is skipped and says so
	@if [ "$$CI" = true ] && ! command -v chromium >/dev/null && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; fi

.PHONY: format
format: setup ## Format the code
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

.PHONY: lint
lint: setup ## Check format, style and the layers of docs/architecture.md
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/lint-imports --no-logo

.PHONY: typecheck
typecheck: setup ## mypy, strict
	$(BIN)/mypy --cache-dir $(CACHE)/mypy
	$(BIN)/mypy --cache-dir $(CACHE)/mypy --package tests.testbed --package helm

.PHONY: generate
generate: setup ## Write what follows from the code: the CRDs, the chart's parts, the pages of the API and of the metrics
	$(BIN)/python -m tuning_operator.api.crds crds
	$(BIN)/python -m tuning_operator.api.reference docs/api-reference.md
	$(BIN)/python -m helm.generate
	$(BIN)/python -m tuning_operator.backends.kubernetes.metrics_page docs/operator-metrics.md

.PHONY: verify
verify: generate ## Regenerate everything that is generated; fail on any difference
	git diff --exit-code -- crds helm docs/api-reference.md docs/operator-metrics.md

.PHONY: images
images: ## Build both images; BASE=, TAG=, PREFIX=, PLATFORM=, BUILDER=docker|podman|buildah
	images/build.sh

.PHONY: sbom
sbom: ## Write what is in both images to dist/, as CycloneDX; the variables of `make images`
	images/build.sh operator-sbom trainer-sbom

.PHONY: cluster-up
cluster-up: setup ## Start a cluster with one real node (root); ARGS="--size control-plane" for an API server alone
	$(BIN)/python -m tests.testbed up $(ARGS)

.PHONY: cluster-demo
cluster-demo: setup ## Show it on a cluster: images, helm install, one job to its end (root); ARGS=--keep to look around
	$(BIN)/python -m tests.testbed.demo $(ARGS)

.PHONY: cluster-down
cluster-down: setup ## End what cluster-up started
	$(BIN)/python -m tests.testbed down

.PHONY: testbed
testbed: setup ## Build the test bed's binaries ahead of the tests
	$(BIN)/python -m tests.testbed build etcd kube-apiserver kube-controller-manager kube-scheduler kubectl kubelet \
		kube-proxy coredns kwok

.PHONY: requirements
requirements: $(filter .tools/bin/uv,$(UV)) ## Pin every dependency again, with hashes
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url \
		--extra operator --extra trainer --extra dev --output-file requirements/dev.txt pyproject.toml
	for image in operator trainer; do $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --no-emit-index-url --extra $$image --constraint requirements/dev.txt \
		--output-file requirements/$$image.txt pyproject.toml || exit; done
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url \
		--extra operator --extra trainer --extra dev --extra bench --constraint requirements/dev.txt \
		--output-file requirements/bench.txt pyproject.toml
	echo uv | $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--no-emit-index-url --output-file requirements/uv.txt -
	echo cyclonedx-bom | $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--no-annotate --no-emit-index-url --output-file requirements/sbom.txt -

.venv-bench/.ready: requirements/bench.txt | setup
	@test -x .venv-bench/bin/python || $(UV) venv --quiet --python $(PYTHON) .venv-bench
	VIRTUAL_ENV=$(CURDIR)/.venv-bench $(UV) pip sync --quiet --compile-bytecode --require-hashes requirements/bench.txt
	VIRTUAL_ENV=$(CURDIR)/.venv-bench $(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: bench
bench: .venv-bench/.ready ## Measure: engine and trainer, each beside a peer in the same run
	.venv-bench/bin/python -m benchmarks.engine
	.venv-bench/bin/python benchmarks/trainer.py

.PHONY: bench-load
bench-load: setup ## Load the operator on simulated nodes and print the table; ARGS=--full for its design's size
	$(BIN)/python -m benchmarks.load $(ARGS)

.PHONY: clean
clean: ## Remove the virtual environment and caches, never runs/
	rm -rf $(VENV) .venv-bench .tools .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
