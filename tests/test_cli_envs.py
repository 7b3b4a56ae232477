"""rltk envs: the list, the checks, and a person who plays, typed in from a text."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

import rltk.registry
from rltk import cli
from rltk.envs_names import find_environment, with_options
from rltk.errors import UserError
from rltk.registry import load_plugins

WALK = """
import gymnasium as gym
import numpy as np


class Walk(gym.Env):
    observation_space = gym.spaces.Box(0.0, 10.0, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = 5
        return np.array([5], dtype=np.float32), {}

    def step(self, action):
        self.place += 2 * int(action) - 1
        return np.array([self.place], dtype=np.float32), float(self.place == 6), self.place == 6, False, {}


gym.register("my/Walk-v0", entry_point=Walk)
"""


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave this process's registry as it was."""
    monkeypatch.setattr(rltk.registry, "_current", rltk.registry._current)


def run(*arguments: str, typed: str | None = None) -> int:
    """Run the command line in this process, with what is typed, and return the exit code."""
    with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(SystemExit) as ended:
        monkeypatch.setattr(sys, "argv", ["rltk", *arguments])
        monkeypatch.setattr("warnings.showwarning", print)
        if typed is not None:
            monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        cli.main()
    return int(ended.value.code or 0)


def test_the_list_says_what_each_is_like(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("envs", "--json") == 0
    rows = {row["name"] or row["id"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["sort"] | {"summary": ""} == {
        "name": "sort",
        "id": "rltk/Sort-v0",
        "kind": "text",
        "turns": 1,
        "levels": ["easy", "medium", "hard"],
        "bounds": [[0.109, 1.0], [0.145, 1.0], [0.159, 1.0]],
        "summary": "",
    }
    assert rows["dialogue"]["turns"] == 7 and rows["dialogue"]["levels"] == []
    assert rows["gymnasium"]["kind"] == "" and "rltk/TextGeneration-v0" in rows
    assert run("envs") == 0
    table = capsys.readouterr().out
    assert "rltk/Sort-v0" in table and "0.109 0.145 0.159" in table and "CartPole" in table


def test_the_list_does_not_wait_for_torch() -> None:
    code = (
        "import sys; sys.argv = ['rltk', 'envs', '--json']; from rltk.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print([m for m in ('torch', 'transformers') if m in sys.modules], file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stderr.strip() == "[]" and json.loads(result.stdout)


def test_ids_of_ones_own_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "walk.py").write_text(WALK)
    assert run("envs", "--json", "-p", str(tmp_path / "walk.py")) == 0
    rows = [(row["name"], row["id"]) for row in json.loads(capsys.readouterr().out)]
    assert rows[-2:] == [("", "my/Walk-v0"), ("", "rltk/TextGeneration-v0")]


def test_names_and_ids_mean_components() -> None:
    load_plugins()
    assert find_environment("sort", "x") == find_environment("rltk/Sort-v0", "x") == {"name": "sort"}
    cartpole = find_environment("CartPole-v1", "x")
    assert cartpole == {"name": "gymnasium", "id": "CartPole-v1"}
    options = {"id": "CartPole-v1", "options": {"sutton_barto_reward": True}}
    assert with_options(cartpole, {"sutton_barto_reward": True}) == ("gymnasium", options)
    assert with_options({"name": "sort"}, {"level": "hard"}) == ("sort", {"level": "hard"})
    with pytest.raises(UserError, match=r"x: unknown environment, got 'rltk/Srot-v0'\. Fix: did you mean"):
        find_environment("rltk/Srot-v0", "x")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (
            ["envs", "play", "srot"],
            "rltk envs play: unknown environment, got 'srot'. Fix: did you mean 'sort'",
        ),
        (["envs", "check", "Cartpole-v1"], "Fix: did you mean 'CartPole-v1'"),
        (["envs", "check", "sort", "level=x"], "sort.level: should be 'easy', 'medium' or 'hard', got 'x'"),
        (["envs", "play", "sort", "levl=easy"], "sort.levl: unknown key"),
        (["envs", "play", "sort", "easy"], "not of the form key=value, got 'easy'"),
        (["envs", "play", "sort", "--split", "x"], "command line: Invalid value for '--split'"),
        (["envs", "play", "files"], "environment.corpus: no file is given"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    arguments: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments, typed="") == 2
    error = capsys.readouterr().err
    assert error.startswith("rltk: error: ") and error.count("\n") == 1 and part in error


@pytest.mark.parametrize(
    ("arguments", "last"),
    [
        (["sort", "level=medium"], "ok      Saying nothing, or one token again and again, comes to nothing"),
        (["CartPole-v1"], "ok      The first of several slots is like a single one"),
        (
            ["brackets", "masked=true"],
            "No scores are declared",
        ),
    ],
)
def test_a_check_prints_a_line_a_property(
    arguments: list[str], last: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("envs", "check", *arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert last in lines[-1] and lines[0] == f"environment {arguments[0]}"
    assert not any("FAILED" in line for line in lines)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"random_scores": {"easy": 0.2}}, "Random tokens score what is declared: they score 0.1"),
        (
            {"oracle": lambda self, row, turns=(): row["prompt"]},
            "The oracle scores what is declared: it scores 0.",
        ),
        ({"score": lambda self, row, said: 1.0 if said else 0.0}, "Random tokens score what is declared"),
        (
            {
                "score": lambda self, row, said: max(0.7 * (not said), self.right(row, said)),
                "random_scores": {"easy": 0.16},
            },
            "one token again and again, comes to nothing: to say nothing scores 0.700",
        ),
    ],
)
def test_declarations_that_do_not_hold_are_found_out(changes: dict, complaint: str) -> None:
    from rltk.envs_checking import check_scores
    from rltk_envs.suite.sorting import Sort

    wrong = type("Wrong", (Sort,), {"right": Sort.score, **changes})
    with pytest.raises(AssertionError) as failed:
        check_scores(wrong(Sort.Config(), seed=0))
    assert complaint in str(failed.value)


def test_a_person_plays_text(capsys: pytest.CaptureFixture[str]) -> None:
    from rltk_envs.suite.copying import Copy

    assert run("envs", "play", "copy", "heldout_prompts=2", "--split", "test", typed="") == 0
    prompt = capsys.readouterr().out.splitlines()[2].removesuffix(" :")
    dealt = {row["prompt"] for row in Copy(Copy.Config(heldout_prompts=2), seed=0).prompts("test")}
    assert prompt in dealt
    typed = f"{prompt}\nhello\n\n"
    assert run("envs", "play", "rltk/Copy-v0", "heldout_prompts=2", "--split", "test", typed=typed) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[2:5] == [f"{prompt} :", "> reward 1; utility 1, exact 1", f"oracle: {prompt}"]
    assert "! it holds words that are not in the vocabulary: a b c" in out
    assert "> reward 0; utility 0, exact 0" in out and out.endswith("goodbye\n")


def test_a_person_plays_several_turns(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("envs", "play", "dialogue", typed="2 tea\n2 tea\n") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("customer : hello") and lines[3].startswith("> customer : no ,")
    assert lines[4].startswith("> reward 0; utility 0,")
    assert lines[5] == lines[6] and lines[5].startswith("oracle: ")


def test_a_person_is_told_which_tokens_are_allowed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("envs", "play", "brackets", "masked=true", typed=") ] ) > )\n") == 0
    assert "is not allowed here; go on with one of: ( [ { <" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "typed", "parts"),
    [
        (
            "FrozenLake-v1",
            "2\n2\n7\n1\n1\n1\n2\n",
            ["action (0 to 3)> ", "observation 14", "! '7' is no action", "ended: return 1", "FFFH"],
        ),
        ("CartPole-v1", "1\nx\n", ["action (0 to 1)> reward 1, so far 1", "! 'x' is no action"]),
        ("Pendulum-v1", "0.5\n1 2\n", ["so far -", "! '1 2' is no action"]),
        ("Taxi-v4", "5\n", ["action (", "! 5 is not allowed here"]),
    ],
)
def test_a_person_plays_without_text(
    name: str, typed: str, parts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["is_slippery=false"] if name == "FrozenLake-v1" else []
    assert run("envs", "play", name, *options, typed=typed) == 0
    out = capsys.readouterr().out
    assert all(part in out for part in parts) and out.endswith("goodbye\n")


def test_an_interrupt_ends_the_game(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(prompt: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("rltk.envs_playing_text.ask", interrupted)
    assert run("envs", "play", "sort") == 0
    assert capsys.readouterr().out.endswith("goodbye\n")
