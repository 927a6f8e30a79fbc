# All targets need Python 3.11 or newer. To use another one than python3: make run PYTHON=python3.13
PYTHON ?= python3
PIP = .venv/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

run: .venv/service ## Start the service with an embedded PostgreSQL (options: make run ARGS="--port 8001")
	@.venv/bin/python -m carbonapi.commands serve $(ARGS)

demo: .venv/service ## Create an organization with the readings of a British household, and print how to log in
	@.venv/bin/python -m carbonapi.commands demo

test: .venv/everything ## Run all tests
	.venv/bin/python -m pytest -n auto --dist worksteal $(ARGS)

thorough: .venv/everything ## Run all tests with many random examples, schemathesis and the long tests (takes half an hour)
	CARBONAPI_TEST_THOROUGH=1 .venv/bin/python -m pytest -n auto --dist worksteal \
		-m "not browser and not newman and not nginx and not pgbouncer and not redis and not typescript and not peer" $(ARGS)

browser: .venv/everything .venv/axe/package/axe.min.js ## Run the browser tests of the dashboard and Swagger UI (need Chromium, and npm for axe-core)
	.venv/bin/python -m pytest -m browser $(ARGS)

browser-nginx: .venv/everything .venv/axe/package/axe.min.js ## Run the browser tests of the dashboard through nginx, with a path prefix that it removes or keeps
	CARBONAPI_TEST_NGINX=stripped .venv/bin/python -m pytest -m browser tests/dashboard $(ARGS)
	CARBONAPI_TEST_NGINX=kept .venv/bin/python -m pytest -m browser tests/dashboard $(ARGS)

screenshots: .venv/everything ## Take the screenshots of the dashboard in docs/pictures
	.venv/bin/python -m pytest -m browser tests/dashboard/pictures.py

redis: .venv/everything ## Run the tests with Redis (need redis-server on PATH)
	.venv/bin/python -m pytest -m redis $(ARGS)

nginx: .venv/everything ## Run the tests with nginx in front (need nginx, curl and Node.js on PATH)
	.venv/bin/python -m pytest -m nginx $(ARGS)

pgbouncer: .venv/everything ## Run the tests behind PgBouncer in transaction mode (need pgbouncer on PATH)
	.venv/bin/python -m pytest -m pgbouncer $(ARGS)

newman: .venv/everything .venv/node/installed ## Run the Postman collection with newman against a new service (needs Node.js)
	.venv/bin/python -m pytest -m newman $(ARGS)

typescript: .venv/everything .venv/node/installed ## Run the tests of a TypeScript client and of the JavaScript in the docs (need Node.js)
	.venv/bin/python -m pytest -m typescript $(ARGS)

schemathesis: .venv/everything ## Test every operation with 50 schemathesis examples (takes minutes)
	.venv/bin/python -m pytest -m thorough tests/docs/test_generated_clients.py $(ARGS)

attack: .venv/everything ## Attack a running service from outside (takes minutes; parts: make attack ARGS="matrix tokens")
	.venv/bin/python -m tests.attack $(ARGS)

bench: .venv/benchmarks ## Measure carbonapi and a peer, and write benchmarks/RESULTS.md (make bench ROWS=20000000)
	.venv/bin/python -m pytest -m peer tests/test_benchmarks.py
	.venv/bin/python -m benchmarks --rows $(or $(ROWS),2000000) --write $(ARGS)

bench-quick: .venv/benchmarks ## Measure with 200,000 usages in two minutes, and write nothing
	.venv/bin/python -m benchmarks --quick $(ARGS)

bench-scope: .venv/everything ## Measure what stating the organization in each transaction costs (Linux)
	.venv/bin/python -m benchmarks.scope

overload: .venv/everything ## Measure the service under ten times its load and with 500 slow clients, and check its limits
	.venv/bin/python -m benchmarks.overload $(ARGS)

mutants: .venv/everything ## Break about fifty checks, one at a time, and require that a test fails (takes minutes)
	.venv/bin/python -m tests.mutation.run_mutations $(ARGS)

crash: .venv/everything ## Kill the service at random, and compare its ledger with its answers (make crash SECONDS=600 SEED=1)
	.venv/bin/python -m tests.endurance.crash $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(ARGS)

consistency: .venv/everything ## Check that answers as of a time are final, and the feed of changes complete (make consistency SECONDS=60)
	.venv/bin/python -m tests.endurance.consistency $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(ARGS)

simultaneous-imports: .venv/everything ## Check that a file imported several times at once, by several processes, is recorded once (takes minutes)
	.venv/bin/python -m tests.endurance.simultaneous_imports $(ARGS)

soak: .venv/everything ## Check that memory does not grow under load (needs Linux; make soak SECONDS=900)
	.venv/bin/python -m tests.endurance.soak $(if $(SECONDS),--seconds $(SECONDS)) $(ARGS)

docs: .venv/everything ## Write the pages of docs/reference that are generated from the code
	.venv/bin/python -m tools.reference

check: .venv/everything ## Check style and types
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m mypy carbonapi wsgi.py tools

lock: .venv/everything ## Write requirements.lock with the newest versions that setup.cfg allows
	.venv/bin/python tools/lock.py

clean: ## Delete the virtual environment and all caches, but no data
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
	find benchmarks carbonapi migrations tests -name __pycache__ -prune -exec rm -rf {} +

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "carbonapi needs Python 3.11 or newer, but $(PYTHON) is older. Set another: make PYTHON=python3.13"; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "$(PYTHON) cannot create a virtual environment. On Debian and Ubuntu: apt install python3-venv"; exit 1; }

# The command `carbonapi`, which runs this checkout from any folder.
.venv/bin/carbonapi: | .venv/bin/python
	@printf '#!/bin/sh\nPYTHONPATH="%s" exec "%s" -P -m carbonapi.commands "$$@"\n' "$(CURDIR)" "$(CURDIR)/.venv/bin/python" > $@
	@chmod +x $@

# Each stamp file is newer than the lock file once the sections up to its own are installed.
.venv/service: requirements.lock | .venv/bin/carbonapi
	@echo "Installing the service (once, and when requirements.lock changes)."
	@sed '/^# ==== tests and checks/,$$d' requirements.lock > .venv/requirements.txt
	@$(PIP) -r .venv/requirements.txt
	@touch $@

.venv/everything: requirements.lock | .venv/bin/carbonapi
	@echo "Installing the service and its tests (once, and when requirements.lock changes)."
	@sed '/^# ==== benchmarks/,$$d' requirements.lock > .venv/requirements.txt
	@$(PIP) -r .venv/requirements.txt
	@touch $@ .venv/service

.venv/benchmarks: requirements.lock | .venv/bin/carbonapi
	@echo "Installing the service, its tests and its benchmarks (once, and when requirements.lock changes)."
	@$(PIP) -r requirements.lock
	@touch $@ .venv/everything .venv/service

# axe-core finds accessibility errors. The tests verify the hash of the file.
.venv/axe/package/axe.min.js: | .venv/bin/python
	@mkdir -p .venv/axe
	@cd .venv/axe && npm pack --silent axe-core@4.14.1 > /dev/null && tar -xzf axe-core-4.14.1.tgz

# npm ci verifies the versions and hashes of the lock file.
.venv/node/installed: tests/node/package-lock.json | .venv/bin/python
	@npm --version > /dev/null || { echo "npm is missing. It is part of Node.js 20 and newer. On Debian: apt install npm"; exit 1; }
	@echo "Installing the npm packages of the tests (once, and when tests/node/package-lock.json changes)."
	@mkdir -p .venv/node
	@cp tests/node/package.json tests/node/package-lock.json .venv/node
	@cd .venv/node && npm ci --ignore-scripts --no-audit --no-fund --silent
	@touch $@

.PHONY: help run demo test browser browser-nginx screenshots redis nginx pgbouncer typescript newman schemathesis thorough attack bench bench-quick bench-scope overload mutants crash simultaneous-imports soak docs check lock clean
