"""New plugins as `rltk plugins new` writes them; tests/test_separate_distribution.py installs them."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from rltk import testing
from rltk.errors import UserError
from rltk.plugin_sources import local_source
from rltk.registry import Registry
from rltk.scaffold import new_plugin, next_steps

COMPONENTS = {
    "reward": "reward_model",
    "algorithm": "algorithm",
    "policy": "policy",
    "environment": "environment",
    "stage": "stage",
}
#: A name in which every replacement shows: capitals, both separators, longer than the templates' own.
NAME = "Copies_things-of2kinds"


@pytest.mark.parametrize("kind", [*COMPONENTS, "observer"])
def test_a_package_is_written(kind: str, tmp_path: Path) -> None:
    paths = new_plugin(kind, NAME, tmp_path / "new")
    module = "rltk_copies_things_of2kinds"
    assert [str(path.relative_to(tmp_path / "new")) for path in paths] == [
        "pyproject.toml",
        f"{module}.py",
        "tests/test_copies_things_of2kinds.py",
        "recipe.yaml",
        "README.md",
        ".gitignore",
    ]
    project = tomllib.loads(paths[0].read_text())["project"]
    assert project["name"] == "rltk-copies-things-of2kinds" and project["dependencies"] == ["rltk"]
    assert project["entry-points"]["rltk"] == {f"{kind}_copies_things_of2kinds": module}
    written = "".join(path.read_text() for path in paths)
    assert not re.search("template[-_]?(name|kind|dist)", written, re.IGNORECASE)
    assert "RLTK_API = 1\n" in paths[1].read_text()


@pytest.mark.parametrize(("kind", "component_kind"), COMPONENTS.items())
def test_the_component_has_the_name_and_keeps_its_contract(
    kind: str, component_kind: str, tmp_path: Path
) -> None:
    module = new_plugin(kind, NAME, tmp_path)[1]
    registry = Registry([local_source(str(module))])
    assert registry.failures == [] and registry.names(component_kind) == [NAME]
    component = registry.get(component_kind, NAME)
    assert component.__name__.startswith("CopiesThingsOf2kinds")
    getattr(testing, f"check_{component_kind}")(component)


def test_the_observer_implements_hooks_that_exist(tmp_path: Path) -> None:
    registry = Registry([local_source(str(new_plugin("observer", NAME, tmp_path)[1]))])
    assert registry.failures == [] and registry.provided == []


@pytest.mark.parametrize("name", ["x", NAME, "the-longest-name-there-may-be1"])
def test_what_is_written_is_formatted_and_free_of_lint(name: str, tmp_path: Path) -> None:
    for kind in (*COMPONENTS, "observer"):
        new_plugin(kind, name, tmp_path / kind)
    for command in (
        ["check", "--select", "ANN,B,E,F,I,N,RUF,UP,W", "--ignore", "ANN401,RUF012"],
        ["format", "--check"],
    ):
        ruff = [sys.executable, "-m", "ruff", *command, "--no-cache", str(tmp_path)]
        result = subprocess.run(ruff, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr


def test_the_next_steps_are_the_readmes(tmp_path: Path) -> None:
    paths = new_plugin("reward_model", "polite", tmp_path / "a b")
    steps = next_steps("reward_model", "polite", tmp_path / "a b").splitlines()
    assert steps[0] == f"next: cd '{tmp_path / 'a b'}'"
    commands = [step.removeprefix("next: ").partition("  #")[0] for step in steps[1:]]
    assert commands == re.findall(r"^```\n(.*)\n```$", paths[4].read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("rewards", "polite", "no such kind of plugin, got 'rewards'. Fix: did you mean 'reward'."),
        ("reward", "3x", "not a name for a plugin, got '3x'. Fix: begin with a letter"),
        ("reward", "polite-", "not a name for a plugin, got 'polite-'"),
        ("reward", "so polite", "not a name for a plugin, got 'so polite'"),
        ("reward", "größe", "not a name for a plugin, got 'größe'"),
        ("reward", "x" * 31, "at most 29 letters"),
        ("reward", "", "not a name for a plugin, got ''"),
        ("reward", "length", "another reward has that name, got 'length'"),
        ("reward_model", "length", "another reward has that name, got 'length'"),
        ("observer", "progress", "another observer has that name, got 'progress'"),
        ("algorithm", "stages", "a module 'rltk_stages' is already installed, got 'stages'"),
    ],
)
def test_wrong_input_writes_nothing(kind: str, name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        new_plugin(kind, name, tmp_path / "new")
    assert str(caught.value).startswith("rltk plugins new: ") and "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_files_that_are_there_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    for target in (tmp_path, tmp_path / "thesis.tex"):
        with pytest.raises(UserError, match="there is already something") as caught:
            new_plugin("reward", "polite", target)
        assert repr(str(target)) in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_another_kind_may_have_the_same_name(tmp_path: Path) -> None:
    assert new_plugin("stage", "length", tmp_path)[1].name == "rltk_length.py"


def test_writing_waits_for_neither_torch_nor_transformers(tmp_path: Path) -> None:
    write = f"from pathlib import Path; new_plugin('policy', 'mine', Path({str(tmp_path)!r}))"
    code = f"import sys; from rltk.scaffold import new_plugin; {write}; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"
