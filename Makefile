# A Python of 3.11 or newer is all that must be there. Another one than python3: make run PYTHON=python3.13
PYTHON ?= python3
PIP = .venv/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

run: .venv/service ## Start the service, with a PostgreSQL of its own (options: make run ARGS="--port 8001")
	@.venv/bin/python -m carbonapi.commands serve $(ARGS)

demo: .venv/service ## Fill an organization with the real readings of a British household, and tell how to sign in
	@.venv/bin/python -m carbonapi.commands demo

test: .venv/everything ## Run all tests
	.venv/bin/python -m pytest -n auto $(ARGS)

browser: .venv/everything .venv/axe/package/axe.min.js ## Run the tests that need Chromium, and npm for axe-core: the dashboard and Swagger UI
	.venv/bin/python -m pytest -m browser $(ARGS)

screenshots: .venv/everything ## Take the pictures of the dashboard anew: docs/pictures
	.venv/bin/python -m pytest -m browser tests/dashboard/pictures.py

redis: .venv/everything ## Run the tests that need Redis: redis-server on PATH
	.venv/bin/python -m pytest -m redis $(ARGS)

newman: .venv/everything .venv/node/installed ## Run the Postman collection by newman, against a service that has just been started
	.venv/bin/python -m pytest -m newman $(ARGS)

typescript: .venv/everything .venv/node/installed ## Run the tests that need Node.js: a client in TypeScript, and docs/how-to/use-a-client.md in JavaScript
	.venv/bin/python -m pytest -m typescript $(ARGS)

schemathesis: .venv/everything ## Let schemathesis try 50 examples of every operation, with all its checks, for minutes
	.venv/bin/python -m pytest -m thorough $(ARGS)

attack: .venv/everything ## Attack the running service from outside, for many minutes (make attack ARGS="matrix tokens" for parts)
	.venv/bin/python -m tests.attack $(ARGS)

bench: .venv/benchmarks ## Measure carbonapi beside a peer, and write benchmarks/RESULTS.md (make bench ROWS=20000000)
	.venv/bin/python -m pytest -m peer tests/test_benchmarks.py
	.venv/bin/python -m benchmarks --rows $(or $(ROWS),2000000) --write $(ARGS)

bench-quick: .venv/benchmarks ## Measure with 200,000 usages, in two minutes; writes nothing
	.venv/bin/python -m benchmarks --quick $(ARGS)

overload: .venv/everything ## Let ten times the load and 500 slow clients come, in a minute; fails if a promise is not kept
	.venv/bin/python -m benchmarks.overload $(ARGS)

mutants: .venv/everything ## Plant some fifty holes, one at a time, and see that the tests find each, in some ten minutes
	.venv/bin/python -m tests.mutants $(ARGS)

crash: .venv/everything ## Kill and freeze the service at random, and compare its ledger with what it answered (make crash SECONDS=600 SEED=1)
	.venv/bin/python -m tests.endurance.crash $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(ARGS)

soak: .venv/everything ## Load the service, and see that its memory does not grow; needs Linux (make soak SECONDS=900)
	.venv/bin/python -m tests.endurance.soak $(if $(SECONDS),--seconds $(SECONDS)) $(ARGS)

docs: .venv/everything ## Write the reference pages of docs/reference that follow from the code
	.venv/bin/python -m tools.reference

check: .venv/everything ## Look for faults of style and types
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m mypy carbonapi wsgi.py tools

lock: .venv/everything ## Write requirements.lock anew, with the newest versions that setup.cfg allows
	.venv/bin/python tools

clean: ## Remove the virtual environment and all caches, but no data
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
	find benchmarks carbonapi migrations tests -name __pycache__ -prune -exec rm -rf {} +

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "carbonapi needs Python 3.11 or newer, found as $(PYTHON). Name another: make PYTHON=python3.13"; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "$(PYTHON) cannot make a virtual environment. On Debian and Ubuntu: apt install python3-venv"; exit 1; }

# Each stamp is newer than the lock file once that much of it is installed.
.venv/service: requirements.lock | .venv/bin/python
	@echo "Installing the service (once, and when requirements.lock changes)."
	@sed '/^# ==== tests and checks/,$$d' requirements.lock > .venv/requirements.txt
	@$(PIP) -r .venv/requirements.txt
	@touch $@

.venv/everything: requirements.lock | .venv/bin/python
	@echo "Installing the service and its tests (once, and when requirements.lock changes)."
	@sed '/^# ==== benchmarks/,$$d' requirements.lock > .venv/requirements.txt
	@$(PIP) -r .venv/requirements.txt
	@touch $@ .venv/service

.venv/benchmarks: requirements.lock | .venv/bin/python
	@echo "Installing the service, its tests and its benchmarks (once, and when requirements.lock changes)."
	@$(PIP) -r requirements.lock
	@touch $@ .venv/everything .venv/service

# What finds faults of accessibility. The tests know the file's hash.
.venv/axe/package/axe.min.js: | .venv/bin/python
	@mkdir -p .venv/axe
	@cd .venv/axe && npm pack --silent axe-core@4.14.1 > /dev/null && tar -xzf axe-core-4.14.1.tgz

# With the versions and the hashes of its lock file, as pip has them of requirements.lock.
.venv/node/installed: tests/node/package-lock.json | .venv/bin/python
	@npm --version > /dev/null || { echo "npm is missing: it comes with Node.js, 20 or newer. On Debian: apt install npm"; exit 1; }
	@echo "Installing what the tests need of npm (once, and when tests/node/package-lock.json changes)."
	@mkdir -p .venv/node
	@cp tests/node/package.json tests/node/package-lock.json .venv/node
	@cd .venv/node && npm ci --ignore-scripts --no-audit --no-fund --silent
	@touch $@

.PHONY: help run demo test browser screenshots redis typescript newman schemathesis attack bench bench-quick overload mutants crash soak docs check lock clean
