# Every target does its own set-up, from a fresh clone: make demo · make test · make docs · make bench · make screenshots
# Options: PYTHON=python3.12 (which Python makes the virtual environment), WORKERS=4 (test processes),
# PYTEST_ARGS="tests/core -k bracket" (only these tests), TORCH="torch==2.13.0 --index-url ADDRESS" (which build of PyTorch).

VENV ?= .venv
PY := $(VENV)/bin/python
# On a terminal pip shows what it downloads; in a log one line a step is enough.
PIP_INSTALL := $(PY) -m pip install --disable-pip-version-check --no-input $(shell [ -t 2 ] || echo -q)
TORCH ?= $(shell grep -i '^torch==' constraints.txt)
PYTEST_ARGS ?=
WORKERS ?= 2
CORE_TESTS := tests/core $(wildcard tests/test_*.py) afunet_core docs/tools

export QT_API ?= pyside6
export PYTHONUNBUFFERED = 1
export NO_MKDOCS_2_WARNING = 1

.PHONY: help demo test lint unit docs bench quality screenshots package try-wheel clean

help:
	@echo "make demo         napari with a merged sample bracket (without a screen: writes demo/)"
	@echo "make test         format, lint, types, manifest, documentation build, all tests"
	@echo "make docs         the documentation site, in site/"
	@echo "make bench        time and memory of merges on this machine, beside OpenCV"
	@echo "make quality      scores and pictures of the models on generated brackets"
	@echo "make screenshots  the pictures of the documentation, taken from the real plugin"
	@echo "make package      wheel and source distribution in dist/, checked"
	@echo "make try-wheel    the wheel installed where nothing else is, and used there"
	@echo "make clean        remove everything that was built (not the virtual environment)"

# --- set-up: one stamp file for each step, so that a second run installs nothing ---------------------------------------

$(VENV)/.stamp-torch: constraints.txt
	@echo "1 of 2: PyTorch ($(TORCH)), into $(VENV), once."
	@echo "   pip takes the build your system's index offers: 0.2 GB (CPU, macOS, Windows) or, on Linux, 3 GB with CUDA (5 to 7 GB on disk)."
	@echo "   For the small CPU build on Linux, or another CUDA: make $(MAKECMDGOALS) TORCH=\"…\" with the line from pytorch.org/get-started."
	@python="$${PYTHON:-$$(sh tools/find-python.sh)}" && "$$python" -m venv $(VENV)
	@# before everything else and by its exact pin, so that no other request chooses a build
	@$(PIP_INSTALL) $(TORCH) </dev/null
	@touch $@

$(VENV)/.stamp-qt: $(VENV)/.stamp-torch pyproject.toml
	@echo "2 of 2: napari, Qt and this package (0.5 GB), once."
	@$(PIP_INSTALL) -c constraints.txt -e ".[qt]" </dev/null
	@touch $@

$(VENV)/.stamp-dev: $(VENV)/.stamp-torch pyproject.toml
	@echo "2 of 2: napari, Qt, this package and its developers' tools (1 GB), once."
	@$(PIP_INSTALL) -c constraints.txt -e ".[dev]" </dev/null
	@touch $@ $(VENV)/.stamp-qt

# --- what a person types -------------------------------------------------------------------------------------------------

demo: $(VENV)/.stamp-qt
	@sh tools/system-packages.sh
	@if [ -n "$$DISPLAY$$WAYLAND_DISPLAY" ] || [ "$$(uname -s)" != Linux ]; then \
	  $(PY) tools/demonstration.py; \
	else \
	  echo "No screen here: running under Xvfb, the results go to demo/"; \
	  sh tools/with-display.sh $(PY) tools/demonstration.py --headless demo; \
	fi

test: lint docs unit

lint: $(VENV)/.stamp-dev
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/npe2 validate napari.yaml

# Two processes for the core, one thread each. The plugin's tests run one after the other on a screen, on two screens at once.
NAPARI_FIRST := $(wildcard tests/napari/test_*.py tests/napari/display/test_*.py tests/napari/layers/test_*.py) \
	tests/napari/jobs/test_controller.py napari_afunet
NAPARI_SECOND := $(filter-out $(NAPARI_FIRST),$(wildcard tests/napari/*/test_*.py))

unit: $(VENV)/.stamp-dev
	@sh tools/system-packages.sh --xvfb
ifeq ($(strip $(PYTEST_ARGS)),)
	OMP_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(CORE_TESTS) </dev/null
	sh tools/with-display.sh --virtual $(PY) -m pytest $(NAPARI_FIRST) </dev/null & first=$$!; \
	sh tools/with-display.sh --virtual $(PY) -m pytest $(NAPARI_SECOND) </dev/null; second=$$?; \
	wait $$first && exit $$second
else
	sh tools/with-display.sh --virtual $(PY) -m pytest $(PYTEST_ARGS) </dev/null
endif

docs: $(VENV)/.stamp-dev
	$(VENV)/bin/mkdocs build --strict

bench: $(VENV)/.stamp-dev
	$(PY) benchmarks/sizes.py --write docs/performance.md --plot docs/performance.svg

quality: $(VENV)/.stamp-dev
	$(VENV)/bin/afunet evaluate --synthetic 48 --size 320 --model compact --model full --merged --pictures \
		--baselines reference weighted mertens opencv -o docs/quality

screenshots: $(VENV)/.stamp-dev
	@sh tools/system-packages.sh --xvfb
	$(PY) docs/pictures.py
	sh tools/with-display.sh --virtual $(PY) docs/screenshots.py

package: $(VENV)/.stamp-dev
	rm -rf dist
	$(PY) -m build --no-isolation
	$(PY) -m twine check --strict dist/*

try-wheel: package
	@sh tools/system-packages.sh --xvfb
	sh tools/try-wheel.sh build/try-wheel

clean:
	rm -rf build dist site demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks htmlcov .coverage
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
