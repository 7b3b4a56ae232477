"""``rltk plugins check``: what it prints, and how it exits."""

import sys
from pathlib import Path

import pytest

import rltk.registry
from rltk.cli import main

PLUGIN = '''
from pydantic import Field

import rltk


@rltk.reward
def polite(episode):
    """Pays for manners."""
    return float("please" in episode.response)


class Scaled(rltk.RewardModel):
    """Pays for words, a price each; needs to be told the price."""

    name = "scaled"

    class Config(rltk.ComponentConfig):
        price: float = Field(description="What a word is worth.")

    def score(self, episodes):
        return [self.config.price * len(episode.response.split()) for episode in episodes]


class Relative(rltk.RewardModel):
    """Compares with the batch."""

    name = "relative"

    def score(self, episodes):
        longest = max((len(episode.response) for episode in episodes), default=0) or 1
        return [len(episode.response) / longest for episode in episodes]


@rltk.hookimpl
def rltk_reward_models():
    return [Scaled, Relative]
'''


@pytest.fixture
def plugin(tmp_path: Path) -> str:
    """A file with three rewards: one good, one that needs an option, one that breaks its contract."""
    path = tmp_path / "my_rewards.py"
    path.write_text(PLUGIN)
    return str(path)


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put back the registry that other tests see."""
    monkeypatch.setattr(rltk.registry, "_current", rltk.registry._current)


def check(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run ``rltk plugins check`` and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["rltk", "plugins", "check", *arguments])
    monkeypatch.setattr("warnings.showwarning", print)
    with pytest.raises(SystemExit) as exit:
        main()
    return int(exit.value.code or 0)


def test_a_component_that_keeps_its_contract(plugin, capsys, monkeypatch):
    assert check("polite", "-p", plugin, monkeypatch=monkeypatch) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0].startswith("reward_model polite (my_rewards, ")
    assert "  ok      Its scores do not depend on the order of episodes" in lines
    assert all(line.startswith("  ok      ") for line in lines[1:])
    assert printed.err == ""


def test_a_component_that_breaks_it_exits_with_1_and_the_reason(plugin, capsys, monkeypatch):
    assert check("relative", "-p", plugin, monkeypatch=monkeypatch) == 1
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1].startswith("  FAILED  Its scores do not depend on which other")
    [line] = printed.err.splitlines()
    assert line.startswith("rltk: error: reward_model 'relative': Its scores do not depend on which other")
    assert line.endswith(
        "Fix: score each episode by itself; batches are cut in any way, so mask the padding of a model."
    )


def test_options_that_are_needed_are_asked_for_and_taken(plugin, capsys, monkeypatch):
    assert check("scaled", "-p", plugin, monkeypatch=monkeypatch) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "rltk: error: reward_model 'scaled': it cannot be made without the options price (What"
    )
    assert line.endswith("on the command line key=value.")
    assert check("scaled", "price=0.5", "-p", plugin, monkeypatch=monkeypatch) == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["politee"], "no such component or plugin, got 'politee'. Fix: did you mean 'polite'."),
        (["scaled", "price=much"], "scaled.price: should be a valid number"),
        (["scaled", "prize=1"], "scaled.prize: unknown key. Fix: did you mean 'price'."),
        (["scaled", "price"], "option: not of the form key=value, got 'price'"),
        (
            ["observer_progress"],
            "plugin observer_progress: there is nothing to check: it provides no component",
        ),
        (["my_rewards", "price=1"], "price=1: 'my_rewards' has several components to give options to"),
    ],
)
def test_mistakes_are_one_line_and_exit_with_2(plugin, capsys, monkeypatch, arguments, expected):
    assert check(*arguments, "-p", plugin, monkeypatch=monkeypatch) == 2
    errors = capsys.readouterr().err.splitlines()
    assert any(expected in line and line.startswith("rltk: error: ") for line in errors)


def test_a_plugin_by_name_checks_all_that_it_provides(tmp_path, capsys, monkeypatch):
    (tmp_path / "pair.py").write_text(PLUGIN.replace("[Scaled, Relative]", "[Relative]"))
    assert check("pair", "-p", str(tmp_path / "pair.py"), monkeypatch=monkeypatch) == 1
    printed = capsys.readouterr()
    assert "reward_model polite (pair" in printed.out and "reward_model relative (pair" in printed.out
    assert len(printed.err.splitlines()) == 1


def test_nested_options_are_written_with_dots(capsys, monkeypatch):
    nested = ["rewards.short.name=length", "rewards.short.target=4", "rewards.long={name: length}"]
    assert check("weighted_sum", *nested, monkeypatch=monkeypatch) == 0
