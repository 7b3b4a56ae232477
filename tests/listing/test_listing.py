"""``rltk plugins``: what it prints, and what it leaves alone."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rltk.errors import UserError
from rltk.listing.light_imports import HEAVY as HEAVY_PACKAGES
from rltk.listing.listing import list_plugins
from rltk.registry import Registry
from tests.fake_distribution import install
from tests.plugin_site import HEAVY, plugin_site

REWARD = "import rltk\n@rltk.reward\ndef {}(episode):\n    return 1.0\n"
SLOW_REWARD = f"import {HEAVY}\n" + REWARD
TOY_PLUGIN = str(Path(__file__).parent.parent / "toy_plugin.py")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    with plugin_site(tmp_path, monkeypatch) as folder:
        yield folder


@pytest.fixture
def listed(capsys: pytest.CaptureFixture[str]) -> Any:
    """List with ``-p`` options and return the rows by plugin name."""

    def rows(*options: str, load: bool = False) -> dict[str, dict[str, Any]]:
        list_plugins(options, as_json=True, load=load, strict=False)
        return {row["plugin"]: row for row in json.loads(capsys.readouterr().out)}

    return rows


def _provides(row: dict[str, Any]) -> list[tuple[str, str]]:
    return [(item["kind"], item["name"]) for item in row["provides"]]


def test_everything_installed_is_listed_and_nothing_heavy_imported() -> None:
    """Compared with the registry, which loads all of it."""
    code = (
        "import sys\nfrom rltk.listing.light_imports import HEAVY\n"
        "sys.argv = ['rltk', 'plugins', '--json', '-p', sys.argv[1]]\nfrom rltk import cli\n"
        "try:\n    cli.main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert not HEAVY & set(sys.modules), HEAVY & set(sys.modules)\n"
    )
    command = [sys.executable, "-c", code, TOY_PLUGIN]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = {row["plugin"]: row for row in json.loads(result.stdout)}
    from rltk.plugin_selection import select_sources

    registry = Registry(select_sources([TOY_PLUGIN]).sources)
    assert list(rows) == sorted(source.plugin for source in registry.sources)
    for plugin, row in rows.items():
        provided = {(item.kind, item.component.name) for item in registry.provided if item.plugin == plugin}
        assert row["status"] == "ok" and row["error"] is None
        assert set(_provides(row)) == provided and row["hooks"] == registry.event_hooks(plugin)
    assert rows["reward_length"]["how"] == "loaded" and rows["algorithm_ppo"]["how"] == "read"


def test_the_import_log_names_no_part_of_a_heavy_package() -> None:
    """The packages themselves stand there where a hook asked for them and was stopped."""
    code = "from rltk.listing.listing import list_plugins as f; f([], as_json=True, load=False, strict=True)"
    command = [sys.executable, "-X", "importtime", "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "rltk.registry" in imported
    assert "numpy" not in imported
    assert not {name for name in imported if "." in name and name.partition(".")[0] in HEAVY_PACKAGES}


def test_a_row_has_all_there_is_to_say(site: Path, listed: Any) -> None:
    install(site, "alpha", {"alpha_one": REWARD.format("one")}, {"reward_one": "alpha_one"}, version="2.5")
    assert listed()["reward_one"] == {
        "plugin": "reward_one",
        "status": "ok",
        "distribution": "alpha",
        "version": "2.5",
        "provides": [{"kind": "reward_model", "name": "one"}],
        "hooks": [],
        "error": None,
        "fix": None,
        "how": "loaded",
    }


def test_what_is_not_known_is_null_and_a_question_mark(
    site: Path, listed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    code = f"import rltk, {HEAVY}\n@rltk.hookimpl\ndef rltk_stages():\n    return list(map(str, []))\n"
    install(site, "alpha", {"alpha": f"import {HEAVY}\n{code}"}, {"stage_x": "alpha"})
    assert _provides(listed()["stage_x"]) == [("stage", None)]
    list_plugins([], as_json=False, load=False, strict=False)
    printed = capsys.readouterr()
    assert "stage ?" in printed.out
    assert printed.err == "rltk: 1 plugin was read, not run; rltk plugins --load imports them all.\n"


@pytest.mark.parametrize("heading", ["", f"import {HEAVY}\n"], ids=["light", "heavy"])
@pytest.mark.parametrize("load", [False, True])
def test_broken_plugins_fail_with_the_reason_and_others_do_not(
    site: Path, listed: Any, heading: str, load: bool
) -> None:
    extra = "Provides-Extra: fast\nRequires-Dist: nowhere-at-all; extra == 'fast'\n"
    (site / "nowhere.py").write_text(f"{heading}import nowhere_at_all\n")
    install(
        site,
        "alpha",
        {
            "alpha_absent": f"{heading}import nowhere_at_all\n",
            "alpha_hook": f"{heading}import rltk\n@rltk.hookimpl\ndef rltk_satges(): return []\n",
            "alpha_good": heading + REWARD.format("good"),
        },
        {name: f"alpha_{name}" for name in ("absent", "hook", "good")} | {"gone": "alpha_gone"},
        metadata=extra,
    )
    rows = listed("nowhere.py", "no_such_file.py", load=load)
    assert {name for name, row in rows.items() if row["status"] == "ok"} == {"good"}
    assert rows["absent"]["error"] == "ModuleNotFoundError: No module named 'nowhere_at_all'"
    assert rows["absent"]["fix"] == "pip install 'alpha[fast]', or leave it out with -p no:absent"
    assert rows["nowhere"]["error"] == rows["absent"]["error"]
    assert rows["hook"]["error"].startswith("unknown hook 'rltk_satges' (did you mean 'rltk_stages')")
    assert rows["gone"]["error"] == "ModuleNotFoundError: No module named 'alpha_gone'"
    assert rows["no_such_file"]["error"] == "ImportError: no such file: no_such_file.py"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        (
            "import rltk\n@rltk.hookimpl\ndef rltk_stages(): return 3",
            "rltk_stages must return a list of classes, got 3",
        ),
    ],
)
def test_what_only_running_tells_is_told_of_light_plugins_and_with_load(
    site: Path, listed: Any, code: str, reason: str
) -> None:
    (site / "light.py").write_text(f"{code}\n")
    (site / "heavy.py").write_text(f"import {HEAVY}\n{code}\n")
    assert listed("light.py")["light"]["error"] == reason
    row = listed("heavy.py")["heavy"]
    assert (row["status"], row["how"]) == ("ok", "read")
    row = listed("heavy.py", load=True)["heavy"]
    assert (row["status"], row["error"], row["how"]) == ("FAILED", reason, "loaded")


@pytest.mark.parametrize("text", [REWARD, SLOW_REWARD], ids=["light", "heavy"])
def test_plugins_left_out_are_not_touched_and_say_why(
    site: Path, listed: Any, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = {"alpha_one": "1 / 0", "alpha_two": "1 / 0", "alpha_three": text.format("three")}
    install(site, "alpha", modules, {name[6:]: name for name in modules})
    monkeypatch.setenv("RLTK_DISABLE_PLUGINS", "two")
    rows = listed("no:one")
    states = {name: (row["status"], row["error"], row["how"]) for name, row in rows.items()}
    assert states["one"] == ("blocked", "by -p no:one", None)
    assert states["two"] == ("blocked", "by RLTK_DISABLE_PLUGINS", None)
    assert states["three"][0] == "ok"
    monkeypatch.setenv("RLTK_PLUGINS", "two")
    assert listed()["three"]["error"] == "by RLTK_PLUGINS, which does not name it"


@pytest.mark.parametrize("load", [False, True])
@pytest.mark.parametrize("text", [REWARD, SLOW_REWARD], ids=["light", "heavy"])
def test_a_component_of_two_plugins_is_said_of_both(site: Path, listed: Any, text: str, load: bool) -> None:
    install(site, "alpha", {"a": REWARD.format("same")}, {"first": "a"})
    install(site, "beta", {"b": text.format("same")}, {"second": "b"}, version="2.0")
    rows = listed(load=load)
    clash = (
        "plugin 'first' of alpha 1.0 and plugin 'second' of beta 2.0 both provide a reward_model named 'same'"
    )
    for row in rows.values():
        assert (row["status"], row["error"]) == ("ok", clash)
    assert "-p no:second" in rows["second"]["fix"]
    with pytest.raises(UserError, match=r"--strict-plugins.* both provide a reward_model"):
        list_plugins([], as_json=True, load=load, strict=True)


def test_two_distributions_with_a_plugin_of_one_name_fail_until_one_is_left_out(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(site, "alpha", {"a": REWARD.format("one")}, {"same": "a"})
    install(site, "beta", {"b": SLOW_REWARD.format("two")}, {"same": "b"})
    states = []
    for options in ([], ["no:same@alpha"], ["no:same@beta"]):
        list_plugins(options, as_json=True, load=False, strict=False)
        rows = json.loads(capsys.readouterr().out)
        states.append([(row["distribution"], row["status"], row["how"]) for row in rows])
    assert states == [
        [("alpha", "FAILED", None), ("beta", "FAILED", None)],
        [("alpha", "blocked", None), ("beta", "ok", "read")],
        [("alpha", "ok", "loaded"), ("beta", "blocked", None)],
    ]
    list_plugins([], as_json=False, load=False, strict=False)
    assert "alpha 1.0 and beta 1.0 both declare a plugin of this name" in capsys.readouterr().out


def test_a_failure_is_fatal_where_plugins_must_work(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (site / "broken.py").write_text("1 / 0")
    with pytest.raises(UserError) as error:
        list_plugins(["broken.py"], as_json=True, load=False, strict=True)
    assert json.loads(capsys.readouterr().out)[0]["status"] == "FAILED"
    assert "plugin 'broken' of broken.py failed to load: ZeroDivisionError" in str(error.value)
    assert isinstance(error.value.__cause__, ZeroDivisionError)


def test_what_a_plugin_prints_is_no_part_of_the_listing(site: Path, listed: Any) -> None:
    (site / "chatty.py").write_text("print('hello')\n")
    assert listed("chatty.py")["chatty"]["status"] == "ok"
    assert listed("chatty.py", load=True)["chatty"]["status"] == "ok"


def test_in_a_pipe_a_line_is_a_plugin(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (site / "broken.py").write_text(f"raise ValueError({'long ' * 100!r})\n")
    (site / "watcher.py").write_text("import rltk\n@rltk.hookimpl\ndef rltk_metrics(step): ...\n")
    install(site, "alpha", {"a": REWARD.format("one")}, {"reward_one": "a"})
    list_plugins(["broken.py", "watcher.py"], as_json=False, load=False, strict=False)
    header, broken, one, watcher = capsys.readouterr().out.splitlines()
    assert header.split() == ["plugin", "status", "from", "provides"]
    assert broken.split()[:3] == ["broken", "FAILED", "broken.py"] and broken.endswith("-p no:broken.")
    assert one.split() == ["reward_one", "ok", "alpha", "1.0", "reward_model", "one"]
    assert watcher.split() == ["watcher", "ok", "watcher.py", "observes", "metrics"]


def test_on_a_terminal_of_80_columns_nothing_is_cut_off(
    site: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = " ".join(f"word{number}" for number in range(40))
    (site / "broken.py").write_text(f"raise ValueError({reason!r})\n")
    install(site, "alpha", {"a": REWARD.format("one")}, {"reward_with_a_rather_long_name": "a"})
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    list_plugins(["broken.py"], as_json=False, load=False, strict=False)
    printed = capsys.readouterr().out
    assert max(len(line) for line in printed.splitlines()) <= 80
    assert set(reason.split()) <= set(printed.replace(".", " ").split())


def test_no_plugin_at_all_is_said(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    list_plugins([], as_json=False, load=False, strict=False)
    assert "no plugin at all was found. Fix: install rltk" in capsys.readouterr().err


def test_a_variable_that_names_no_plugin_is_warned_about(
    site: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RLTK_DISABLE_PLUGINS", "absent")
    list_plugins([], as_json=True, load=False, strict=False)
    assert capsys.readouterr().err.startswith("rltk: warning: RLTK_DISABLE_PLUGINS: no plugin has this name")
