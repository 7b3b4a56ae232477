import os
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

import rltk
import rltk.registry
from rltk.episode import Episode
from rltk.errors import UserError
from rltk.plugin_sources import Source, entry_point_sources, local_source
from rltk.registry import Registry, load_plugins
from rltk.scoring import score_episodes

TOY_PLUGIN = Path(__file__).parent / "toy_plugin.py"


def _source(plugin: str, code: str = "", distribution: str = "dist 1.0") -> Source:
    def load() -> ModuleType:
        module = ModuleType(f"made_{plugin}")
        exec("import rltk\n" + code, module.__dict__)
        return module

    return Source(plugin, distribution, load)


REWARD = """
class Mine(rltk.RewardModel):
    name = {name!r}
    def score(self, episodes):
        return [1.0 for _ in episodes]

@rltk.hookimpl
def rltk_reward_models():
    return [Mine]
"""


def test_components_are_found_by_kind_and_name(toys: Registry) -> None:
    assert toys.names("algorithm") == ["toy_first", "toy_second"]
    assert toys.get("stage", "count").__name__ == "Count"
    assert toys.names("policy") == []


def test_an_unknown_name_gets_a_suggestion(toys: Registry) -> None:
    with pytest.raises(UserError) as error:
        toys.get("algorithm", "toy_frist", where="rl.algorithm.name")
    expected = "rl.algorithm.name: unknown algorithm, got 'toy_frist'. Fix: did you mean 'toy_first'."
    assert str(error.value) == expected


@pytest.mark.parametrize(
    "code",
    ["raise ImportError('no such thing')", "raise SystemExit(3)", "import nowhere_at_all", "x ="],
)
def test_a_plugin_that_fails_at_import_leaves_the_others_working(code: str) -> None:
    registry = Registry([_source("bad", code), _source("good", REWARD.format(name="good"))])
    assert registry.names("reward_model") == ["good"]
    assert [(failure.plugin, failure.distribution) for failure in registry.failures] == [("bad", "dist 1.0")]


def test_asking_for_what_a_failed_plugin_may_provide_gives_its_reason() -> None:
    registry = Registry([_source("reward_lost", "raise ImportError('no such thing')")])
    with pytest.raises(UserError, match=r"reward_lost.*ImportError: no such thing") as error:
        registry.get("reward_model", "lost")
    assert isinstance(error.value.__cause__, ImportError)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("@rltk.hookimpl\ndef rltk_stages(): return 3", "must return a list"),
        ("@rltk.hookimpl\ndef rltk_stages(): return [3]", "no subclass of Stage"),
        ("@rltk.hookimpl\ndef rltk_stages(): return [rltk.RewardModel]", "no subclass of Stage"),
        ("@rltk.hookimpl\ndef rltk_stagse(): return []", "rltk_stagse"),
        ("@rltk.hookimpl\ndef rltk_metrics(stage, setp): pass", "setp"),
        (REWARD.format(name="../x"), "must be letters"),
        (REWARD.format(name="x").replace("def score", "def scor"), "Mine lacks score"),
        (REWARD.format(name="x").replace("    def", "    class Config: pass\n    def"), "ComponentConfig"),
    ],
)
def test_what_a_plugin_hands_over_is_checked(code: str, reason: str) -> None:
    registry = Registry([_source("wrong", code), _source("good", REWARD.format(name="good"))])
    assert [failure.plugin for failure in registry.failures] == ["wrong"]
    assert reason in str(registry.failures[0])
    assert registry.names("reward_model") == ["good"]
    # none of its event hooks fire: pluggy 1.6 would leave it registered


def test_two_plugins_with_one_component_name_are_both_named() -> None:
    registry = Registry(
        [
            _source("first", REWARD.format(name="same"), "alpha 1.0"),
            _source("second", REWARD.format(name="same"), "beta 2.0"),
        ]
    )
    with pytest.raises(UserError) as error:
        registry.get("reward_model", "same")
    for part in ("'first' of alpha 1.0", "'second' of beta 2.0", "-p no:second"):
        assert part in str(error.value)


def test_a_blocked_plugin_is_not_even_imported() -> None:
    registry = Registry([_source("bad", "raise ImportError")], blocked={"bad": "by hand"})
    assert registry.failures == []


def test_entry_points_are_sorted_by_name() -> None:
    sources = entry_point_sources(EntryPoint(name, "os", "rltk") for name in ("z", "a", "m"))
    assert [source.plugin for source in sources] == ["a", "m", "z"]
    assert sources[0].load() is os


def test_of_two_plugins_of_one_name_neither_is_used_until_one_is_left_out() -> None:
    sources = [
        _source("same", REWARD.format(name="one"), "alpha"),
        _source("same", REWARD.format(name="two"), "beta"),
    ]
    registry = Registry(sources)
    assert registry.names("reward_model") == []
    reason = "alpha and beta both declare a plugin of this name; leave one out with -p no:same@alpha"
    assert registry.failures[0].reason == reason
    assert len(registry.failures) == 2
    assert Registry(sources, {"same@alpha": "by hand"}).names("reward_model") == ["two"]


def test_a_plugin_at_hand_can_be_registered(toys: Registry) -> None:
    seen = []

    class Watcher:
        @rltk.hookimpl
        def rltk_metrics(self, step: int) -> None:
            seen.append(step)

    toys.register(Watcher(), "watcher")
    toys.notify("rltk_metrics", stage="s", step=5, total=9, metrics={})
    assert seen == [5]


def test_a_function_is_a_reward(toys: Registry) -> None:
    reward = rltk.create("reward_model", "polite")
    episodes = [Episode("p", "yes please"), Episode("p", "no"), Episode("p", "")]
    assert reward.score(episodes) == [1.0, 0.0, None]


@pytest.mark.parametrize("value", [float("nan"), "much"])
def test_a_function_reward_must_be_a_finite_number(value: object) -> None:
    @rltk.reward
    def broken(episode: Episode) -> float:
        return value  # type: ignore[return-value]

    with pytest.raises(UserError, match=r"'broken': a score (must be a number|is not finite)"):
        score_episodes(broken(broken.Config()), [Episode("p", "r")])


def test_a_reward_that_raises_is_named() -> None:
    @rltk.reward
    def broken(episode: Episode) -> float:
        return 1 / 0

    with pytest.raises(UserError, match=r"reward 'broken': it raised ZeroDivisionError: division by zero"):
        score_episodes(broken(broken.Config()), [Episode("p", "r")])


def test_create_splits_options_from_collaborators(toys: Registry) -> None:
    policy = SimpleNamespace(actor_parameters=list, critic_parameters=list)
    algorithm = rltk.create("algorithm", "toy_first", policy=policy, clip_range=0.3)
    assert algorithm.policy is policy and algorithm.config.clip_range == 0.3
    assert algorithm.generator.initial_seed() == 0
    with pytest.raises(UserError, match=r"toy_first\.clip_rnge: unknown key. Fix: did you mean 'clip_range'"):
        rltk.create("algorithm", "toy_first", policy=policy, clip_rnge=0.3)


@pytest.fixture
def restored_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rltk.registry, "_current", None)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: ())


@pytest.mark.usefixtures("restored_registry")
def test_p_loads_a_file_and_leaves_plugins_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_plugins([str(TOY_PLUGIN)]).names("stage") == ["count"]
    assert rltk.get_registry().names("stage") == ["count"]
    assert load_plugins([str(TOY_PLUGIN), "no:toy_plugin"]).names("stage") == []
    monkeypatch.setenv("RLTK_DISABLE_PLUGINS", "other, toy_plugin")
    assert load_plugins([str(TOY_PLUGIN)]).names("stage") == []


@pytest.mark.usefixtures("restored_registry")
def test_p_must_work(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0")
    for option, reason in [
        (str(broken), "ZeroDivisionError"),
        (str(tmp_path / "absent.py"), "no such file"),
        ("absent_module", "No module named"),
        ("no:absent", "no plugin to leave out"),
    ]:
        with pytest.raises(UserError, match=reason):
            load_plugins([option])


@pytest.mark.usefixtures("restored_registry")
def test_failures_are_warned_about_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    points = [EntryPoint("lost", "nowhere_at_all", "rltk")]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points)
    rltk.get_registry()
    rltk.get_registry()
    assert capsys.readouterr().err.count("rltk: warning: plugin 'lost'") == 1


def test_a_file_named_like_a_module_shadows_none(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("x = 1")
    assert Registry([local_source(str(tmp_path / "json.py"))]).failures == []
    import json

    assert json.loads("1") == 1
