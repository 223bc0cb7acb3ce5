# Every target makes what it needs; a second call starts at once. Options pass through: make test ARGS='-k pgd'.

VENV := .venv
RUN := $(VENV)/bin
ARGS ?=
AGAINST ?=
MINIMAL ?=
SCORES ?=
TRANSFER ?=
UNIVERSAL ?=
SPATIAL ?=
TRAINING ?=
CORRUPTIONS ?=
# Tests use one thread each, so two processes share them; a module stays in one, with what it has prepared.
WORKERS ?= --numprocesses=2 --dist=loadscope

# The first of these that is new enough and can make virtual environments. Another one: make demo PYTHON=/path/to/python
NEW_ENOUGH := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c '$(NEW_ENOUGH)' 2>/dev/null && { echo $$p; break; }; done)
PIP_INSTALL = $(RUN)/python -m pip install --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help venv demo test check docs bridges peers bench screenshot clean

help:
	@echo "make demo        train two classifiers, attack both, write runs/demo/report.html"
	@echo "make test        the tests; real data from HOLDFAST_DATA; minutes-long ones with ARGS='-m slow'"
	@echo "make check       format, lint, types, import contract"
	@echo "make docs        the documentation, into site/"
	@echo "make bench       speed beside a bare loop and the reference AutoAttack, changes and questions beside peers'; hours"
	@echo "make bridges     the libraries whose attacks run here too, for their tests"
	@echo "make peers       those and more, whose attacks bench sets ours beside"
	@echo "make venv        only the environment, with the tools for test and check"
	@echo "make screenshot  docs/report.png from the demo's report (needs Chromium)"
	@echo "make clean       remove .venv, caches and built pages; runs stay"

venv: $(VENV)/.test-check

demo: $(VENV)/.base
	$(RUN)/holdfast demo $(ARGS)

test: $(VENV)/.test-check
	$(RUN)/python -m pytest $(WORKERS) $(ARGS)

check: $(VENV)/.test-check
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/mypy
	$(RUN)/lint-imports

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(RUN)/mkdocs build --strict $(ARGS)
	$(RUN)/python docs/complete.py site

bridges: $(VENV)/.bridges

peers: $(VENV)/.peers

bench: $(VENV)/.peers
	$(RUN)/python -m bench.run $(ARGS)
	$(RUN)/python -m bench.training $(TRAINING)
	$(RUN)/python -m bench.calibration
	$(RUN)/python -m bench.against $(AGAINST)
	$(RUN)/python -m bench.minimal $(MINIMAL)
	$(RUN)/python -m bench.scores $(SCORES)
	$(RUN)/python -m bench.transfer $(TRANSFER)
	$(RUN)/python -m bench.universal $(UNIVERSAL)
	$(RUN)/python -m bench.spatial $(SPATIAL)
	$(RUN)/python -m bench.corruptions $(CORRUPTIONS)

screenshot: $(VENV)/.test-check
	test -f runs/demo/report.html || $(RUN)/holdfast demo
	$(RUN)/python docs/screenshot.py runs/demo/report.html docs/report.png

clean:
	rm -rf $(VENV) site build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# The stamps are older than pyproject.toml or constraints.txt when the environment is stale. Times say nothing about a
# folder that was moved (scripts name their old place) or a Python that has gone; for those the environment starts anew.
ifneq ($(shell test -x $(RUN)/python && cat $(VENV)/.made-in 2>/dev/null),$(CURDIR))
.PHONY: $(VENV)/.made-in
endif

$(VENV)/.made-in:
	@test -n "$(PYTHON)" || { echo "holdfast needs Python 3.11 or newer with its venv module: none among python3," \
		"python3.13, python3.12, python3.11. Install one, or name yours: make PYTHON=/path/to/python" >&2; exit 1; }
	@"$(PYTHON)" -c '$(NEW_ENOUGH)' 2>/dev/null || { echo "$(PYTHON) is not Python 3.11 or newer with its venv" \
		"module. Name another: make PYTHON=/path/to/python" >&2; exit 1; }
	"$(PYTHON)" -m venv --clear $(VENV)
	@pwd -P > $@

$(VENV)/.base: $(VENV)/.made-in pyproject.toml constraints.txt
	$(PIP_INSTALL) -e .
	@touch $@

$(VENV)/.test-check: $(VENV)/.base
	$(PIP_INSTALL) -e '.[test,check]'
	@touch $@

# torchattacks asks for torchvision, which its attacks do without.
$(VENV)/.bridges: $(VENV)/.base
	$(PIP_INSTALL) -e '.[bridges]'
	$(PIP_INSTALL) --no-deps torchattacks
	@touch $@

# The others ask for torchvision too, for visdom or for parts of TensorFlow; their attacks on classifiers use none.
$(VENV)/.peers: $(VENV)/.base
	$(PIP_INSTALL) -e '.[peers]'
	$(PIP_INSTALL) --no-deps adv-lib cleverhans secml-torch torchattacks
	@touch $@

$(VENV)/.docs: $(VENV)/.base
	$(PIP_INSTALL) -e '.[docs]'
	@touch $@
