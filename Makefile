# make demo | test | lint | docs | clean. Needs Python >= 3.11, pip and make; everything else goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# The oldest pluggy that rltk works with; tests/test_pluggy_versions.py repeats the plugin tests on it.
OLDEST_PLUGGY := $(VENV)/pluggy-1.6

.PHONY: demo test lint docs clean

demo: $(INSTALLED)
	$(BIN)/rltk train

test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(INSTALLED)
	$(BIN)/python docs/generate_reference.py

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(OLDEST_PLUGGY) pluggy==1.6.0
	touch $@
