"""Plugins behave the same on the oldest pluggy that rltk allows as on the newest."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OLDEST = Path(sys.prefix) / "pluggy-1.6"
PLUGIN_TESTS = [
    "test_observers.py",
    "test_plugin_checks.py",
    "test_plugin_failures.py",
    "test_plugin_selection.py",
    "test_registry.py",
]


@pytest.mark.skipif(not OLDEST.is_dir(), reason="`make test` installs the oldest pluggy beside the newest")
@pytest.mark.skipif(version("pluggy") == "1.6.0", reason="these tests run on it already")
def test_the_plugin_tests_pass_on_the_oldest_pluggy() -> None:
    environment = {**os.environ, "PYTHONPATH": str(OLDEST)}
    seen = subprocess.run(
        [sys.executable, "-c", "import pluggy; print(pluggy.__version__)"],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    assert seen.stdout.strip() == "1.6.0"
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", *PLUGIN_TESTS],
        capture_output=True,
        text=True,
        env=environment,
        cwd=ROOT / "tests",
    )
    assert result.returncode == 0, result.stdout[-4000:]
