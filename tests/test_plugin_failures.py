"""A broken plugin as its user meets it: the message, the exit code, and that everything else goes on.

Every breakage is an installed distribution. A run that does not need it works; one that needs it ends with
exit code 2 and one line; --debug adds the plugin's own traceback.
"""

import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import pytest

from tests import fake_distribution
from tests.test_cli import TOY_PLUGIN, run

METADATA = "Provides-Extra: remote\nRequires-Dist: absent_client; extra == 'remote'\n"
#: What is wrong with the plugin, its source, and the words about it.
BREAKAGES = {
    "raises at import": ("raise RuntimeError('no luck\\nmore')", "RuntimeError: no luck"),
    "exits at import": ("raise SystemExit(3)", "SystemExit: 3"),
    "syntax": ("def", "SyntaxError: invalid syntax (brittle_module.py, line 2)"),
    "misspelt hook": (
        "@rltk.hookimpl\ndef rltk_reward_modles(): return []",
        "unknown hook 'rltk_reward_modles' (did you mean 'rltk_reward_models')",
    ),
    "wrong arguments": (
        "@rltk.hookimpl\ndef rltk_metrics(stage, setp): pass\n@rltk.hookimpl\ndef rltk_rollout(batch): pass",
        "rltk_metrics has no argument 'setp' (it is given stage, step, total, metrics); "
        "rltk_rollout has no argument 'batch' (it is given stage, step, rollout)",
    ),
    "forgotten decorator": (
        "def rltk_reward_models(): return []",
        "rltk_reward_models lacks the decorator @rltk.hookimpl",
    ),
    "wrong return type": (
        "@rltk.hookimpl\ndef rltk_reward_models(): return 'brittle'",
        "rltk_reward_models must return a list of classes, got 'brittle'",
    ),
    "wrong class": (
        "class Brittle: name = 'brittle'\n@rltk.hookimpl\ndef rltk_reward_models(): return [Brittle]",
        "which is no subclass of RewardModel",
    ),
    "another API": (
        "RLTK_API = 2",
        "written for plugin API 2, this is rltk 0.1.0 with API 1",
    ),
    "missing package": ("import absent_client", "ModuleNotFoundError: No module named 'absent_client'"),
}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toys: object) -> Iterator[Path]:
    """A folder with the only installed distributions, and an empty working directory."""

    def installed(*, group: str) -> list[object]:
        found = distributions(path=[str(tmp_path / "site")])
        return [point for dist in found for point in dist.entry_points if point.group == group]

    (tmp_path / "site").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.metadata.entry_points", installed)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    yield tmp_path / "site"
    for module in ("brittle_module", "other_module"):
        sys.modules.pop(module, None)


@pytest.fixture(params=BREAKAGES.values(), ids=BREAKAGES)
def broken(site: Path, request: pytest.FixtureRequest) -> str:
    """Install a broken plugin and return the words about it."""
    source, words = request.param
    modules = {"brittle_module": f"import rltk\n{source}\n"}
    points = {"reward_brittle": "brittle_module"}
    fake_distribution.install(site, "brittle-rewards", modules, points, metadata=METADATA)
    return words


def needing(recipe_file: Path) -> Path:
    """Write a recipe that needs the reward ``brittle``."""
    path = recipe_file.with_name("needing.yaml")
    path.write_text("environment: {name: toy}\nstages:\n  a: {stage: scored, reward: {name: brittle}}\n")
    return path


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    """A plugin file with a stage that takes a reward."""
    path = tmp_path / "scored.py"
    path.write_text(
        "from pydantic import Field\nimport rltk\nfrom rltk.config import RewardSpec\n"
        "class Scored(rltk.Stage):\n"
        "    name = 'scored'\n"
        "    class Config(rltk.ComponentConfig):\n"
        "        reward: RewardSpec = Field(description='A reward.')\n"
        "    def run(self):\n        return {}\n"
        "@rltk.hookimpl\ndef rltk_stages():\n    return [Scored]\n"
    )
    return path


def test_a_run_that_does_not_need_it_works(
    broken: str, recipe_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("train", str(recipe_file), "-p", str(TOY_PLUGIN), "--run", "out") == 0
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(warnings) == 1
    assert warnings[0].startswith(
        "rltk: warning: plugin 'reward_brittle' of brittle-rewards 1.0 failed to load: "
    )
    assert broken in warnings[0] and "-p no:reward_brittle" in warnings[0]
    assert "brittle" not in Path("out/plugins.json").read_text()


def test_a_run_that_needs_it_ends_with_one_line(
    broken: str, recipe_file: Path, scored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", str(needing(recipe_file)), "-p", str(TOY_PLUGIN), "-p", str(scored), "--run", "out"]
    assert run(*arguments) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("rltk: error")]
    assert len(errors) == 1
    assert errors[0].startswith("rltk: error: a.reward.name: unknown reward_model; plugin 'reward_brittle'")
    assert broken in errors[0]
    assert not Path("out").exists()


def test_debug_shows_the_plugins_own_traceback(
    site: Path, recipe_file: Path, scored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = "def helper():\n    raise RuntimeError('no luck')\n\nhelper()\n"
    fake_distribution.install(
        site, "brittle-rewards", {"brittle_module": source}, {"reward_brittle": "brittle_module"}
    )
    arguments = ["train", str(needing(recipe_file)), "-p", str(TOY_PLUGIN), "-p", str(scored)]
    assert run(*arguments) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert run(*arguments, "--debug") == 2
    shown = capsys.readouterr().err
    assert 'brittle_module.py", line 2, in helper' in shown and "RuntimeError: no luck" in shown


def test_the_extra_that_brings_a_missing_package_is_named(
    site: Path, recipe_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    modules = {"brittle_module": "import absent_client"}
    fake_distribution.install(
        site, "brittle-rewards", modules, {"reward_brittle": "brittle_module"}, metadata=METADATA
    )
    assert run("train", str(recipe_file), "-p", str(TOY_PLUGIN)) == 0
    fix = "Fix: pip install 'brittle-rewards[remote]', or leave it out with -p no:reward_brittle."
    assert fix in capsys.readouterr().err


def test_strict_plugins_stops_before_anything_runs(
    broken: str, recipe_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", str(recipe_file), "-p", str(TOY_PLUGIN), "--run", "out"]
    assert run(*arguments, "--strict-plugins") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("rltk: error: --strict-plugins: plugin 'reward_brittle'") and broken in line
    assert not Path("out").exists()
    assert run(*arguments, "--strict-plugins", "-p", "no:reward_brittle") == 0


def test_two_distributions_with_one_reward_are_both_named(
    site: Path, recipe_file: Path, scored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = "import rltk\n@rltk.reward\ndef brittle(episode): return 1.0\n"
    for distribution, module in (("alpha", "brittle_module"), ("beta", "other_module")):
        fake_distribution.install(site, distribution, {module: source}, {f"{distribution}_reward": module})
    arguments = ["train", str(needing(recipe_file)), "-p", str(TOY_PLUGIN), "-p", str(scored), "--run", "out"]
    assert run(*arguments) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error == (
        "rltk: error: a.reward.name: plugin 'alpha_reward' of alpha 1.0 and plugin 'beta_reward' of beta 1.0 "
        "both provide a reward_model named 'brittle'. Fix: leave one out with -p no:beta_reward."
    )
    assert run(*arguments, "-p", "no:alpha_reward") == 0


def test_a_run_goes_on_with_other_plugins_only_after_a_warning(
    site: Path, recipe_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = recipe_file.with_name("toys_of_mine.py")
    plugin.write_text(TOY_PLUGIN.read_text())
    monkeypatch.setenv("TOY_KILL", "b:2:SIGTERM")
    assert run("train", str(recipe_file), "-p", str(plugin), "--run", "out") == 143
    plugin.write_text(TOY_PLUGIN.read_text() + "\n# changed\n")
    monkeypatch.delenv("TOY_KILL")
    capsys.readouterr()
    assert run("train", "--run", "out", "--resume", "-p", str(plugin)) == 0
    (warning,) = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert warning.startswith("rltk: warning: plugin 'toys_of_mine' was toys_of_mine.py ")
    assert " when this run began, now it is toys_of_mine.py " in warning
