"""What a command imports: packages that take seconds are left alone until something needs them."""

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from rltk.cli_collection import without_collection

PROGRAM = """
import sys
from rltk.cli import main
sys.argv = ["rltk", *sys.argv[1:]]
try:
    main()
finally:
    print("imported:", *(name for name in %r if name in sys.modules))
"""


def imported(watched: list[str], *arguments: str) -> list[str]:
    """Return which of the modules a command has imported when it ends."""
    code = PROGRAM % (watched,)
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    last = result.stdout.splitlines()[-1]
    assert last.startswith("imported:"), result.stderr
    return last.split()[1:]


def test_a_control_run_needs_no_transformers(tmp_path: Path) -> None:
    run = tmp_path / "run"
    quick = ["rl.iterations=1", "rl.num_envs=2", "evaluate.num_prompts=2", "--run", str(run)]
    assert imported(["torch", "transformers", "torch._dynamo"], "train", "cartpole", *quick) == ["torch"]
    assert (run / "report.html").exists()


def test_a_misspelt_name_is_told_without_transformers() -> None:
    assert imported(["torch", "transformers"], "train", "instructgpt-tiny", "rl.algorithm.name=x") == [
        "torch"
    ]


def test_a_misspelt_recipe_is_told_before_plugins_are_loaded() -> None:
    assert imported(["torch", "rltk_algorithms"], "train", "cartpol") == []


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_passes_over_what_is_loaded_and_then_goes_on_as_before(enabled: bool) -> None:
    (gc.enable if enabled else gc.disable)()
    try:
        frozen = gc.get_freeze_count()
        with pytest.raises(KeyError), without_collection():
            assert not gc.isenabled()
            loaded: list[list[int]] = [[] for _ in range(100)]
            raise KeyError
        assert gc.isenabled() is enabled
        assert gc.get_freeze_count() - frozen >= len(loaded)
    finally:
        gc.unfreeze()
        gc.enable()
