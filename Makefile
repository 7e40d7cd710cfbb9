# The two commands that matter: `make demo` and `make test`. Both create their environment in .venv on first use.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DEMO   ?= demo
SETUP  := setup.cfg setup.py pyproject.toml morpheus_lite/catalog/_kernels.c morpheus_lite/core/_loops.c

.PHONY: help demo test emri lint docs dist clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-6s %s\n", $$1, $$2}' Makefile

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; " \
	  "this is " + sys.version.split()[0] + " (choose another: make PYTHON=python3.12 ...)")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.demo: $(SETUP) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.test: $(SETUP) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@ $(VENV)/.demo

$(VENV)/.dev: $(SETUP) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.test $(VENV)/.demo

demo: $(VENV)/.demo  ## classify the bundled field and say where the products are
	$(BIN)/python examples/demo.py --output $(DEMO)

test: $(VENV)/.test  ## run every test
	$(BIN)/python -m pytest $(PYTEST_ARGS)

emri: $(VENV)/.test  ## run every test of examples/emri, which has requirements of its own
	$(BIN)/python -m pip install --quiet -r examples/emri/requirements.txt
	$(BIN)/python -m pytest examples/emri/tests $(PYTEST_ARGS)

lint: $(VENV)/.dev  ## style, format, import contract, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

# Pages are built one at a time: several kernels at once can take each other's ports, and the error names no page.
docs: $(VENV)/.dev  ## build the documentation into docs/_build/html and run its examples
	$(BIN)/sphinx-build -W --keep-going -q -b html -d docs/_build/doctrees docs docs/_build/html
	$(BIN)/sphinx-build -W --keep-going -q -b doctest -d docs/_build/doctrees docs docs/_build/doctest
	$(BIN)/python docs/check_links.py docs/_build/html

dist: $(VENV)/.dev  ## wheel and source distribution into dist/
	$(BIN)/python -m pip install --quiet build
	$(BIN)/python -m build --outdir dist .

clean:  ## remove the environment and everything built
	rm -rf $(VENV) $(DEMO) build dist docs/_build *.egg-info
