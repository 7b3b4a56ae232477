# make demo | test | lint | docs | peers | peers-text | clean. Needs Python >= 3.11, pip and make; everything else goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# The oldest pluggy that rltk works with; tests/test_pluggy_versions.py repeats the plugin tests on it.
OLDEST_PLUGGY := $(VENV)/pluggy-1.6
# What tests/benchmarks compares rltk with, in an environment of its own; nothing else needs it.
PEERS := .venv-peers

.PHONY: demo test lint docs peers peers-text clean

demo: $(INSTALLED)
	$(BIN)/rltk train

test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(INSTALLED)
	$(BIN)/python docs/generate_reference.py

peers: $(INSTALLED) $(PEERS)/.installed

peers-text: $(INSTALLED) $(PEERS)-trl-ppo/.installed $(PEERS)-trl-rloo/.installed

clean:
	rm -rf $(VENV) $(PEERS) $(PEERS)-trl-* .mypy_cache .pytest_cache .ruff_cache

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(OLDEST_PLUGGY) pluggy==1.6.0
	touch $@

$(PEERS)/.installed: constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[box2d,mujoco]'
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		'stable-baselines3==2.9.*' 'sb3-contrib==2.9.*' 'gymnasium[box2d,mujoco]' torch==2.13.0
	touch $@

$(PEERS)-%/.installed: tests/benchmarks/requirements/%.txt tests/benchmarks/requirements/trl-needs.txt
	$(PYTHON) -m venv $(PEERS)-$*
	$(PEERS)-$*/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@
