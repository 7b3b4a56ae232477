"""Shared set-up: one thread a test process, and the toy plugin's registry with a recipe for it."""

from pathlib import Path

import pytest
import torch

import rltk.registry
from rltk.plugin_sources import local_source
from rltk.registry import Registry

# Models here are so small that handing work between threads costs more than the work.
torch.set_num_threads(1)

TOY_PLUGIN = Path(__file__).parent / "toy_plugin.py"

RECIPE = """
seed: 1
checkpoint_seconds: 0
environment: {name: toy}
stages:
  a: {stage: count}
  b: {stage: count, steps: 5, algorithm: {clip_range: 1e-4}}
variants:
  b.algorithm: {toy_second: {max_kl: 0.5}}
"""


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Make a registry of the toy plugin alone this process's."""
    registry = Registry([local_source(str(TOY_PLUGIN))])
    assert registry.failures == []
    monkeypatch.setattr(rltk.registry, "_current", registry)
    return registry


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    """A recipe of two toy stages."""
    path = tmp_path / "toy.yaml"
    path.write_text(RECIPE)
    return path
