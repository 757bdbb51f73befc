# The project's commands. Each makes its own .venv when there is none, or when what it is made from has changed.
# Needs make, and Python 3.11 or newer with its venv module; PYTHON=python3.12 chooses another than python3.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed

# pip is to say what went wrong and nothing else; what it needs to build the project is pinned like all the rest
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
export PIP_CONSTRAINT := constraints.txt
export PIP_BUILD_CONSTRAINT := constraints.txt

.DEFAULT_GOAL := help
.PHONY: help venv demo test check bench faults fmt constraints
.NOTPARALLEL: # the targets share two cores, one .venv and what they print

help: ## what there is
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

demo: venv ## two people on this computer: one sends the other a scan
	@$(VENV)/bin/p2pshare demo

test: venv ## all tests but the slow fault tests
	@$(PY) -m pytest

faults: venv ## kill it and fail its disk at every step, and look whether anything was lost
	@$(PY) -m pytest tests -m faults

check: venv ## form, types, imports, dead code, house rules
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports --no-logo
	$(PY) -m deptry .
	$(PY) -m vulture
	$(PY) -m pytest -q tests/house

bench: venv ## measure it, beside the tools that people use now
	@$(PY) bench/run.py

fmt: venv ## put the code into the form that `make check` asks for
	$(PY) -m ruff check --fix-only .
	$(PY) -m ruff format .

constraints: ## renew constraints.txt: the newest versions that pyproject.toml allows
	@rm -rf build/constraints && $(PYTHON) -m venv build/constraints
	@unset PIP_CONSTRAINT PIP_BUILD_CONSTRAINT; build/constraints/bin/python -m pip install -qq \
		'hatchling>=1.27' editables -e '.[dev,demo]'
	@{ sed -n '/^#/p' constraints.txt; build/constraints/bin/python -m pip freeze --exclude-editable; } > build/constraints.new
	@mv build/constraints.new constraints.txt && rm -rf build/constraints
	@echo 'constraints.txt is new; now: make check test'

venv: $(STAMP) ## only make .venv

ifneq ($(shell test -x $(PY) && echo here),here) # never made, or its Python has gone
.PHONY: $(STAMP)
endif

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { \
		echo 'p2pshare needs Python 3.11 or newer, and there is no $(PYTHON) here. On Debian: apt install python3 python3-venv' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "p2pshare needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo '$(PYTHON) cannot make a virtual environment. On Debian: apt install python3-venv' >&2; exit 1; }
	@echo 'Making .venv with $(PYTHON) (once, about a minute) ...'
	@$(PY) -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@$(PY) -m pip install -qq -c constraints.txt -e '.[dev,demo]'
	@touch $@
