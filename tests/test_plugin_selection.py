"""Which plugins are used: -p, RLTK_PLUGINS, RLTK_DISABLE_PLUGINS, and namesakes of two distributions."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rltk.errors import UserError
from rltk.plugin_selection import select_sources
from rltk.registry import Registry, load_plugins
from tests import fake_distribution

REWARD = """
import rltk

@rltk.reward
def {name}(episode):
    return 1.0
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path, and nothing else installed."""
    from importlib.metadata import distributions

    def installed(*, group: str) -> list[object]:
        found = distributions(path=[str(tmp_path)])
        return [point for dist in found for point in dist.entry_points if point.group == group]

    monkeypatch.setattr("rltk.registry._current", None)
    monkeypatch.setattr("importlib.metadata.entry_points", installed)
    monkeypatch.syspath_prepend(str(tmp_path))
    for variable in ("RLTK_PLUGINS", "RLTK_DISABLE_PLUGINS"):
        monkeypatch.delenv(variable, raising=False)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "").is_relative_to(tmp_path):
            del sys.modules[name]


def _install(site: Path, distribution: str, *names: str) -> None:
    modules = {f"{distribution}_{name}": REWARD.format(name=name) for name in names}
    points = {f"reward_{name}": f"{distribution}_{name}" for name in names}
    fake_distribution.install(site, distribution, modules, points)


def _rewards(*options: str) -> list[str]:
    return load_plugins(options).names("reward_model")


def test_all_installed_plugins_are_used(site: Path) -> None:
    _install(site, "alpha", "one", "two")
    assert _rewards() == ["one", "two"]
    source = select_sources().sources[0]
    assert (source.plugin, source.distribution, source.version) == ("reward_one", "alpha", "1.0")
    assert source.module == "alpha_one"


def test_p_no_and_the_disabling_variable_leave_out(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(site, "alpha", "one", "two", "three")
    monkeypatch.setenv("RLTK_DISABLE_PLUGINS", "reward_two, ")
    assert _rewards("no:reward_one") == ["three"]
    blocked = select_sources(["no:reward_one"]).blocked
    assert blocked == {"reward_one": "by -p no:reward_one", "reward_two": "by RLTK_DISABLE_PLUGINS"}


@pytest.mark.parametrize(
    ("allowed", "found"),
    [("reward_two", ["two"]), ("", []), ("reward_one,reward_two@alpha", ["one", "two"])],
)
def test_the_allow_list(site: Path, monkeypatch: pytest.MonkeyPatch, allowed: str, found: list[str]) -> None:
    _install(site, "alpha", "one", "two")
    monkeypatch.setenv("RLTK_PLUGINS", allowed)
    assert _rewards() == found


def test_p_adds_beside_the_allow_list(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(site, "alpha", "one")
    (site / "mine.py").write_text(REWARD.format(name="mine"))
    monkeypatch.setenv("RLTK_PLUGINS", "")
    assert _rewards("mine") == ["mine"]


def test_leaving_out_wins_over_the_allow_list(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(site, "alpha", "one")
    monkeypatch.setenv("RLTK_PLUGINS", "reward_one")
    assert _rewards("no:reward_one") == []


@pytest.mark.parametrize("variable", ["RLTK_PLUGINS", "RLTK_DISABLE_PLUGINS"])
def test_a_variable_that_names_nothing_is_warned_about(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str
) -> None:
    _install(site, "alpha", "one")
    monkeypatch.setenv(variable, "reward_onne")
    load_plugins()
    expected = f"rltk: warning: {variable}: no plugin has this name, got 'reward_onne'. "
    assert capsys.readouterr().err == expected + "Fix: did you mean 'reward_one'.\n"


def test_asking_for_what_is_left_out_says_so(site: Path) -> None:
    _install(site, "alpha", "one")
    registry = load_plugins(["no:reward_one"])
    with pytest.raises(UserError, match="plugin 'reward_one' is left out by -p no:reward_one"):
        registry.get("reward_model", "one")
    with pytest.raises(UserError) as error:  # part of a word is no hint
        registry.get("reward_model", "on")
    assert "left out" not in str(error.value)


def test_of_two_distributions_with_one_plugin_name_either_can_be_left_out(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _install(site, "alpha", "one")
    fake_distribution.install(
        site, "beta", {"beta_one": REWARD.format(name="other")}, {"reward_one": "beta_one"}
    )
    assert _rewards() == []
    warnings = capsys.readouterr().err
    assert "alpha 1.0 and beta 1.0 both declare a plugin of this name" in warnings
    assert "-p no:reward_one@alpha" in warnings and "-p no:reward_one@beta" in warnings
    assert _rewards("no:reward_one@alpha") == ["other"]
    assert _rewards("no:reward_one@beta") == ["one"]
    assert capsys.readouterr().err == ""


def test_strict_lets_nothing_pass(site: Path) -> None:
    _install(site, "alpha", "one")
    assert Registry(select_sources().sources).failures == []
    load_plugins(strict=True)
    fake_distribution.install(site, "beta", {"beta_bad": "1 / 0"}, {"reward_bad": "beta_bad"})
    with pytest.raises(UserError) as error:
        load_plugins(strict=True)
    assert str(error.value) == (
        "--strict-plugins: plugin 'reward_bad' of beta 1.0 failed to load: ZeroDivisionError: division by "
        "zero. Fix: repair it, or leave it out with -p no:reward_bad."
    )
    assert isinstance(error.value.__cause__, ZeroDivisionError)


def test_strict_refuses_a_clash_of_component_names(site: Path) -> None:
    _install(site, "alpha", "one")
    fake_distribution.install(site, "beta", {"beta_one": REWARD.format(name="one")}, {"mine": "beta_one"})
    with pytest.raises(UserError, match=r"'mine' of beta 1.0 and .* both provide a reward_model named 'one'"):
        load_plugins(strict=True)
