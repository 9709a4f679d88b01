# `make demo` opens LIT on the bundled model; `make test` runs every test. Both set up .venv first.
PYTHON ?= python3
PORT ?= 5432
PY := .venv/bin/python

.PHONY: demo test check setup types test-transformer-lens-3 clean

demo: setup
	$(PY) -m lit_tl.launch --port $(PORT)

test: setup check
	$(PY) -m pytest

check: setup
	$(PY) -m ruff check .
	$(PY) -m mypy

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert (3, 10) <= sys.version_info[:2] <= (3, 12), "Python 3.10, 3.11 or 3.12 is needed: make PYTHON=python3.11 ..."'
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	touch .venv/ready

# The wrapper on a HookedTransformer of TransformerLens 3, in an environment of its own.
test-transformer-lens-3:
	$(PYTHON) tests/transformer_lens_3/run.py

clean:
	rm -rf .venv .venv-* build dist
