# Every target works on a fresh clone, with nothing installed but Python 3.11 or newer.

PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
PRODUCTION := PARLEY_SECRET_KEY=only-for-this-check-0123456789-abcdefghijklmnopqrstuvwxyz-ABCDEF \
	PARLEY_ALLOWED_HOSTS=parley.example PARLEY_HTTPS=1
PINS := --universal --python-version 3.11 --generate-hashes --no-header --quiet

.PHONY: demo serve test lint bench requirements clean

demo:
	@$(PYTHON) config/bootstrap.py
	@$(BIN)/python manage.py demo $(ARGS)

serve:
	@$(PYTHON) config/bootstrap.py
	@$(BIN)/python manage.py serve $(ARGS)

test:
	@$(PYTHON) config/bootstrap.py --dev
	$(BIN)/python -m pytest -n 2 $(ARGS)

lint:
	@$(PYTHON) config/bootstrap.py --dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy api plans metering billing refinery console config sandbox manage.py clients/python/src/parley_client
	$(BIN)/lint-imports
	$(BIN)/python -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run
	$(PRODUCTION) $(BIN)/python manage.py check --deploy --fail-level WARNING

bench:
	@$(PYTHON) config/bootstrap.py --dev
	$(BIN)/python -m benchmarks $(ARGS)

requirements:
	@$(PYTHON) config/bootstrap.py --uv pip compile $(PINS) requirements.in -o requirements.txt
	@$(PYTHON) config/bootstrap.py --uv pip compile $(PINS) requirements-dev.in -o requirements-dev.txt

clean:
	rm -rf .venv .venv-tools .parley .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .grimp_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
