"""The registry with the plugin of small worlds, and a language model for them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rltk.registry
from rltk.bench.config import BenchConfig, validate_bench
from rltk.bench.running import BenchOutcome, run_bench
from rltk.registry import Registry, load_plugins
from rltk.testing.worlds import save_causal_lm

WORLD = str(Path(__file__).parent / "world.py")


@pytest.fixture(autouse=True)
def world() -> Iterator[Registry]:
    """Make the small worlds known beside what is installed."""
    former = rltk.registry._current
    yield load_plugins([WORLD, "no:observer_progress"])
    rltk.registry._current = former


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a language model that knows the words of the small worlds."""
    return save_causal_lm(tmp_path_factory.mktemp("model"))


def config_of(policies: Any, environments: Any, **keys: Any) -> BenchConfig:
    """Return a small bench."""
    tree = {"seeds": 2, "episodes": 4, "policies": policies, "environments": environments, **keys}
    return validate_bench(tree, "bench.yaml")


def play(directory: Path, policies: Any, environments: Any, **keys: Any) -> BenchOutcome:
    """Play a small bench."""
    return run_bench(config_of(policies, environments, **keys), directory)


def contents(directory: Path) -> dict[str, bytes]:
    """Return every file below a directory by its relative path."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}
