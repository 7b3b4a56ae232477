"""What a command imports: packages that take seconds are left alone until something needs them."""

import subprocess
import sys
from pathlib import Path

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
    assert imported(["torch", "transformers"], "train", "cartpole", *quick) == ["torch"]
    assert (run / "report.html").exists()


def test_a_misspelt_name_is_told_without_transformers() -> None:
    assert imported(["torch", "transformers"], "train", "instructgpt-tiny", "rl.algorithm.name=x") == [
        "torch"
    ]
