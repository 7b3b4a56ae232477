"""A stranger's plugins, as installed wheels in an environment of their own and as loose files.

The environment holds the wheels of rltk, of docs/examples/rltk-wordsort and of a new plugin of each kind, and
sees the packages they depend on through a path file. Nothing there knows of this checkout.
"""

import base64
import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import rltk.registry
from rltk import cli
from rltk.scaffold import new_plugin

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "docs" / "examples" / "rltk-wordsort"
EXAMPLE_PLUGINS = {
    "algorithm_wordsort_raft": ("algorithm", "wordsort-raft"),
    "environment_wordsort": ("environment", "wordsort"),
    "policy_wordsort_gru": ("policy", "wordsort-gru"),
    "reward_wordsort_order": ("reward_model", "wordsort-order"),
    "stage_wordsort_imitate": ("stage", "wordsort-imitate"),
}
KINDS = ("reward", "algorithm", "policy", "environment", "stage", "observer")
#: What makes each recipe take a second or two.
EXAMPLE_QUICKLY = ["imitate.epochs=1", "rl.iterations=2", "rl.episodes=32", "evaluate.num_prompts=10"]
QUICKLY = {
    "reward": ["pretrain.tokens=4000", "rl.iterations=1", "rl.episodes=16"],
    "algorithm": ["rl.iterations=1", "evaluate.num_prompts=2"],
    "policy": ["rl.iterations=1", "evaluate.num_prompts=2"],
    "environment": ["pretrain.tokens=4000", "rl.iterations=1", "rl.episodes=16", "evaluate.num_prompts=5"],
    "stage": ["environment.num_demonstrations=40"],
    "observer": ["rl.iterations=2"],
}
#: Several command lines in one process, which spares most of the imports.
SEVERAL = """
import json, sys
from rltk import cli
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["rltk", *arguments]
    try:
        cli.main()
    except SystemExit as ended:
        assert not ended.code, arguments
"""


@dataclass(frozen=True)
class Installation:
    """A fresh virtual environment.

    :param directory: where it is.
    :param new: folder with what `rltk plugins new` wrote, a package a kind.
    """

    directory: Path
    new: Path

    def run(self, program: str, *arguments: str, cwd: Path) -> str:
        """Run a program of the environment, away from the checkout, and return what it printed."""
        hidden = ("PYTHON", "RLTK_", "COV_", "PYTEST_")
        environment = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
        command = [str(self.directory / "bin" / program), *arguments]
        result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Build all wheels and install them into a fresh environment."""
    home = tmp_path_factory.mktemp("stranger")
    sources = [ROOT, home / "rltk-wordsort", *(home / "new" / kind for kind in KINDS)]
    shutil.copytree(EXAMPLE, home / "rltk-wordsort")
    for kind in KINDS:
        new_plugin(kind, f"new-{kind}", home / "new" / kind)
    wheels, venv = home / "wheels", home / "venv"
    _run("-m", "pip", "wheel", *_OFFLINE, "--no-build-isolation", "--wheel-dir", wheels, *sources)
    _run("-m", "venv", "--without-pip", venv)
    _run("-m", "pip", "--python", venv / "bin" / "python", "install", *_OFFLINE, *wheels.glob("*.whl"))
    (site_packages,) = venv.glob("lib/python*/site-packages")
    outer = dict.fromkeys(sysconfig.get_paths()[name] for name in ("purelib", "platlib"))
    (site_packages / "outer.pth").write_text("".join(f"{path}\n" for path in outer))
    return Installation(venv, home / "new")


_OFFLINE = ("--quiet", "--disable-pip-version-check", "--no-deps", "--no-index")


def _run(*arguments: object) -> None:
    command = [sys.executable, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def _listed(text: str) -> dict[str, dict[str, Any]]:
    return {row["plugin"]: row for row in json.loads(text)}


def _summary(run: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((run / "summary.json").read_text())
    return summary


def _changed_files(site_packages: Path) -> list[str]:
    """Return the files of rltk that are not as its wheel installed them."""
    (record,) = site_packages.glob("rltk-*.dist-info/RECORD")
    rows = [row for row in csv.reader(record.read_text().splitlines()) if row[1]]
    assert len(rows) > 100
    digests = {
        name: base64.urlsafe_b64encode(hashlib.sha256((site_packages / name).read_bytes()).digest())
        for name, *_ in rows
    }
    return [name for name, sha, _ in rows if sha != f"sha256={digests[name].decode().rstrip('=')}"]


def test_installed_plugins_are_listed(installation: Installation, tmp_path: Path) -> None:
    rows = _listed(installation.run("rltk", "plugins", "--json", cwd=tmp_path))
    assert {row["status"] for row in rows.values()} == {"ok"}
    for plugin, (kind, name) in EXAMPLE_PLUGINS.items():
        assert rows[plugin]["provides"] == [{"kind": kind, "name": name}]
        assert (rows[plugin]["distribution"], rows[plugin]["version"]) == ("rltk-wordsort", "0.3.0")
    for kind in KINDS:
        row = rows[f"{kind}_new_{kind}"]
        assert (row["distribution"], row["version"]) == (f"rltk-new-{kind}", "0.1.0")
        assert [item["name"] for item in row["provides"]] == ([] if kind == "observer" else [f"new-{kind}"])


def test_installed_plugins_are_trained_with(installation: Installation, tmp_path: Path) -> None:
    where = "import rltk, rltk_wordsort.raft as raft; print(rltk.__file__, raft.__file__)"
    for path in installation.run("python", "-c", where, cwd=tmp_path).split():
        assert Path(path).is_relative_to(installation.directory)
    recipe = shutil.copy(EXAMPLE / "wordsort.yaml", tmp_path)
    shown = installation.run("rltk", "train", recipe, "--run", "out", *EXAMPLE_QUICKLY, cwd=tmp_path)
    assert "report: out/report.html" in shown
    _assert_all_five_worked(tmp_path / "out")
    (site_packages,) = installation.directory.glob("lib/python*/site-packages")
    assert _changed_files(site_packages) == []


def _assert_all_five_worked(run: Path) -> None:
    summary = _summary(run)
    assert summary["imitate"]["examples"] == 400
    # 2 iterations of 32 episodes; each metric is one that only its plugin reports
    assert (summary["rl"]["iterations"], summary["rl"]["episodes"]) == (2, 64)
    assert 0 <= summary["rl"]["threshold"] <= summary["rl"]["best"] <= 1
    assert 0 < summary["rl"]["reward/kept_words"] <= 1
    assert list(summary["policies"]) == ["imitate", "rl"]
    samples = [json.loads(line) for line in (run / "stages/evaluate/samples.jsonl").read_text().splitlines()]
    for sample in samples:
        right = sorted(sample["prompt"].split())
        assert sample["utility"] == float(sample["response"].split() == right)
    assert (run / "stages/rl/policy/tokenizer.json").is_file()


def test_new_plugins_are_trained_with_once_installed(installation: Installation, tmp_path: Path) -> None:
    commands = [
        ["train", str(installation.new / kind / "recipe.yaml"), "--run", kind, *QUICKLY[kind]]
        for kind in KINDS
    ]
    installation.run("python", "-c", SEVERAL, json.dumps(commands), cwd=tmp_path)
    for kind in KINDS:
        _assert_new_plugin_worked(kind, tmp_path / kind)
        # the observer is installed, so it observed every run
        assert (tmp_path / kind / "metrics.csv").is_file()


def _assert_new_plugin_worked(kind: str, run: Path) -> None:
    summary, config = _summary(run), yaml.safe_load((run / "config.yaml").read_text())
    stages = config["stages"]
    if kind == "observer":
        lines = (run / "metrics.csv").read_text().splitlines()
        steps = {line.split(",")[1] for line in lines[1:]}
        assert lines[0] == "stage,step,metric,value" and steps == {"1", "2"}
    elif kind == "stage":
        words = json.loads((run / "stages/words/words.json").read_text())
        assert summary["words"] == {"rows": 40, "distinct": len(words), "total": sum(words.values())}
    elif kind == "environment":
        assert config["environment"]["name"] == "new-environment"
        assert summary["policies"]["rl"]["utility"] in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    else:
        assert stages["rl"][kind]["name"] == f"new-{kind}"
        assert summary["rl"]["iterations"] == 1


def test_the_wheel_holds_what_new_plugins_are_made_from(installation: Installation, tmp_path: Path) -> None:
    shown = installation.run("rltk", "plugins", "new", "policy", "mine", "there", cwd=tmp_path)
    here = new_plugin("policy", "mine", tmp_path / "here")
    names = [str(path.relative_to(tmp_path / "here")) for path in here]
    assert shown.splitlines()[: len(names)] == [str(Path("there", name)) for name in names]
    for name in names:
        assert (tmp_path / "there" / name).read_text() == (tmp_path / "here" / name).read_text()


def test_the_tests_that_come_with_the_packages_pass(installation: Installation, tmp_path: Path) -> None:
    folders = [installation.new.parent / "rltk-wordsort", *(installation.new / kind for kind in KINDS)]
    tests = [str(folder / "tests") for folder in folders]
    shown = installation.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, cwd=tmp_path)
    assert " passed" in shown and "skipped" not in shown


def _in_this_process(*arguments: str) -> None:
    """Run the command line here and expect success; the registry is put back after."""
    with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(SystemExit) as ended:
        monkeypatch.setattr(rltk.registry, "_current", None)
        monkeypatch.setattr(sys, "argv", ["rltk", *arguments])
        monkeypatch.setattr("warnings.showwarning", print)
        cli.main()
    assert not ended.value.code


def _options(files: Sequence[Path]) -> list[str]:
    return [argument for file in files for argument in ("-p", str(file))]


@pytest.fixture
def loose(tmp_path: Path) -> list[Path]:
    """The modules of the example, each a file by itself."""
    modules = [path for path in (EXAMPLE / "rltk_wordsort").glob("*.py") if path.stem != "__init__"]
    return [Path(shutil.copy(path, tmp_path)) for path in sorted(modules)]


def test_loose_files_are_listed(loose: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    _in_this_process("plugins", "--json", *_options(loose))
    rows = _listed(capsys.readouterr().out)
    assert [path.stem for path in loose] == ["gru", "imitate", "order", "raft", "world"]
    provided = [rows[path.stem]["provides"] for path in loose]
    assert {(item["kind"], item["name"]) for [item] in provided} == set(EXAMPLE_PLUGINS.values())
    assert {rows[path.stem]["status"] for path in loose} == {"ok"}


def test_loose_files_are_configured_and_trained_with(loose: list[Path], tmp_path: Path) -> None:
    recipe, run = str(EXAMPLE / "wordsort.yaml"), tmp_path / "out"
    chosen = ["rl.reward.keep_power=2", "rl.algorithm.keep=0.5", "environment.length=2"]
    _in_this_process("train", recipe, "--run", str(run), *_options(loose), *EXAMPLE_QUICKLY, *chosen)
    _assert_all_five_worked(run)
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["environment"]["length"] == 2
    assert config["stages"]["rl"]["reward"] == {"name": "wordsort-order", "keep_power": 2.0}
    assert config["stages"]["rl"]["algorithm"]["keep"] == 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_is_trained_with_as_a_file(kind: str, tmp_path: Path) -> None:
    files = {path.name: path for path in new_plugin(kind, f"new-{kind}", tmp_path / "package")}
    plugin, recipe = files[f"rltk_new_{kind}.py"], files["recipe.yaml"]
    run = tmp_path / "out"
    _in_this_process("train", str(recipe), "-p", str(plugin), "--run", str(run), *QUICKLY[kind])
    _assert_new_plugin_worked(kind, run)
