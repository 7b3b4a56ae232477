import json
import os
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import rltk.registry
from rltk import cli

TOY_PLUGIN = Path(__file__).parent / "toy_plugin.py"


@pytest.fixture(autouse=True)
def _only_toys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, toys: object) -> None:
    """Run in an empty directory with no installed plugin."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: ())


def run(*arguments: str) -> int:
    """Run the command line in this process and return the exit code."""
    with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(SystemExit) as ended:
        monkeypatch.setattr(sys, "argv", ["rltk", *arguments])
        monkeypatch.setattr("warnings.showwarning", print)
        cli.main()
    return int(ended.value.code or 0)


def train(recipe: Path, *arguments: str) -> int:
    return run("train", str(recipe), "-p", str(TOY_PLUGIN), *arguments)


def test_the_version_is_the_distributions(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"rltk {version('rltk')}, plugin API 1\n"


@pytest.mark.parametrize("arguments", [(), ("config",)])
def test_without_a_command_the_help_is_printed_alone(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    printed = capsys.readouterr()
    assert "Usage: rltk" in printed.out and printed.err == ""


def test_train_names_the_run_the_report_and_what_is_next(
    recipe_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(recipe_file, "--run", "out", "seed=3") == 0
    printed = capsys.readouterr()
    assert printed.err == "rltk: toy -> out\n"
    assert "report: out/report.html" in printed.out and "next: rltk train" in printed.out
    assert Path("out/report.html").is_file()
    assert json.loads(Path("out/summary.json").read_text())["seed"] == 3


def test_there_has_to_be_a_run_to_go_on_with(recipe_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for recipe in ([str(recipe_file)], []):
        assert run("train", *recipe, "-p", str(TOY_PLUGIN), "--run", "none", "--resume") == 2
        expected = "rltk: error: --run: no run is here, got 'none'. Fix: leave --resume out to begin one."
        assert capsys.readouterr().err.splitlines() == [expected]
    assert not Path("none").exists()


def test_the_default_directory_is_under_runs(recipe_file: Path) -> None:
    assert train(recipe_file) == 0
    assert [path.name.startswith("toy-") for path in Path("runs").iterdir()] == [True]


def test_resuming_needs_only_the_run(
    recipe_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_KILL", "b:2:SIGTERM")
    assert train(recipe_file, "--run", "out") == 143
    message = capsys.readouterr().err
    assert f"Go on with: rltk train --run out --resume -p {TOY_PLUGIN}" in message
    monkeypatch.delenv("TOY_KILL")
    assert run("train", "--run", "out", "--resume", "-p", str(TOY_PLUGIN)) == 0
    assert list(json.loads(Path("out/summary.json").read_text())["policies"]) == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["train", "instructgpt-mimi"], "recipe: unknown recipe, got 'instructgpt-mimi'. Fix: did you mean"),
        (["train", "absent.yaml"], "recipe: no such file"),
        (["train", "--rnu", "x"], "command line: No such option: --rnu"),
        (["train", "--resume"], "--resume: which run is not said"),
        (["trian"], "command line: No such command 'trian'"),
        (["generate"], "command line: Missing argument 'RUN'"),
        (["generate", "absent", "hello"], "no run is here"),
        (["generate", "x", "hello", "--seed", "-1"], "command line: Invalid value for '--seed'"),
        (["report", "absent"], "holds no run"),
        (["envs", "-p", "absent.py"], "-p absent: ImportError: no such file"),
        (["plugins", "-p", "no:absent"], "-p: no plugin to leave out, got 'absent'"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    arguments: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("rltk: error: ") and error.count("\n") == 1 and part in error
    assert list(Path.cwd().iterdir()) == []


def test_several_mistakes_are_several_lines_and_make_no_directory(
    recipe_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(recipe_file, "--run", "out", "a.step=1", "b.steps=x") == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all(line.startswith("rltk: error: ") for line in lines)
    assert not Path("out").exists()


def test_a_bug_is_one_line_exit_code_1_and_a_traceback_in_the_run(
    recipe_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(recipe_file, "--run", "out", "a.fail=true") == 1
    error = capsys.readouterr().err
    assert "rltk: error: ZeroDivisionError: a bug. Fix:" in error and "Traceback" not in error
    assert "ZeroDivisionError" in Path("out/error.log").read_text()
    assert train(recipe_file, "--run", "other", "a.fail=true", "--debug") == 1
    assert "Traceback" in capsys.readouterr().err


def test_plugins_are_listed_with_their_state(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("plugins", "--json", "-p", str(TOY_PLUGIN)) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["plugin"] == "toy_plugin" and row["status"] == "ok" and row["error"] is None
    assert {"kind": "stage", "name": "count"} in row["provides"]
    assert run("plugins", "-p", str(TOY_PLUGIN), "-p", "no:toy_plugin") == 0
    assert "blocked" in capsys.readouterr().out


def test_a_failed_plugin_is_listed_and_refused_only_where_plugins_must_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from importlib.metadata import EntryPoint

    points = [EntryPoint("lost", "nowhere_at_all", "rltk")]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points)
    assert run("plugins", "--json") == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)[0]["status"] == "FAILED" and printed.err == ""
    assert run("plugins", "--strict-plugins") == 2
    error = capsys.readouterr().err
    assert error.startswith(
        "rltk: error: --strict-plugins: plugin 'lost' of unknown failed to load: ModuleNot"
    )


def test_environments_and_recipes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("envs", "-p", str(TOY_PLUGIN)) == 0
    assert "Nothing to act in." in capsys.readouterr().out
    assert run("recipes") == 0
    assert "instructgpt-mini" in capsys.readouterr().out


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nsys.argv = ['rltk', '--help']\nfrom rltk import cli\n"
        "try:\n    cli.main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'torch', 'transformers', 'gymnasium', 'pydantic', 'rltk.registry'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_second_signal_ends_the_process_at_once(tmp_path: Path) -> None:
    code = (
        "import os, signal\n"
        "from rltk.signals import stop_on_signals\n"
        "with stop_on_signals() as stop:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    assert stop.signum == signal.SIGINT\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('still here')\n"
    )
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert result.returncode == 128 + signal.SIGTERM
    assert result.stdout == "" and "once more to stop at once" in result.stderr


def test_the_registry_of_a_command_is_the_processs(recipe_file: Path) -> None:
    assert run("envs", "-p", str(TOY_PLUGIN)) == 0
    assert rltk.get_registry().names("stage") == ["count"]
