import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import rltk
from rltk.config import Recipe, load_recipe
from rltk.errors import Interrupted, UserError
from rltk.registry import Registry
from rltk.run_directory import MetricsLog, differing_keys, open_run, plain, summarise
from rltk.runs import choose_device, create_environment, default_directory, expand, train

TESTS = Path(__file__).parent


@pytest.fixture
def recipe(toys: Registry, recipe_file: Path) -> Recipe:
    return load_recipe(recipe_file)


@pytest.fixture
def reference(recipe: Recipe, tmp_path: Path) -> dict[str, Any]:
    """What an uninterrupted run leaves."""
    train(recipe, tmp_path / "reference")
    return _traces(tmp_path / "reference")


def _traces(run: Path) -> dict[str, Any]:
    """Everything a run computed, without its times."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    summary = json.loads((run / "summary.json").read_text())
    return {
        "metrics": [{key: value for key, value in row.items() if key != "seconds"} for row in rows],
        "policies": summary["policies"],
        "toy": summary["toy"],
    }


def test_a_run_leaves_config_metrics_results_and_summary(recipe: Recipe, tmp_path: Path) -> None:
    run = tmp_path / "run"
    summary = train(recipe, run)
    assert load_recipe(run / "config.yaml") == recipe
    assert json.loads((run / "summary.json").read_text()) == summary
    assert list(summary["policies"]) == ["a", "b"]
    assert summary["policies"]["a"]["return"] is None  # NaN is no JSON
    assert summary["toy"] == {"a": 1, "b": 1}
    assert summary["recipe"] == "toy" and summary["seed"] == 1
    assert set(summary["seconds"]) == {"a", "b"} and summary["peak_memory_gb"] > 0
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [(row["stage"], row["step"], row["total"]) for row in rows] == [
        *[("a", step, 4) for step in range(1, 5)],
        *[("b", step, 5) for step in range(1, 6)],
    ]
    assert sorted(path.name for path in (run / "stages" / "a").iterdir()) == ["done.json"]


def test_stages_have_different_seeds_and_runs_the_same(reference: dict[str, Any], tmp_path: Path) -> None:
    weights = [row["metrics"]["count/weight"] for row in reference["metrics"]]
    assert weights[:4] != weights[4:8]
    train(load_recipe(tmp_path / "toy.yaml"), tmp_path / "again")
    assert _traces(tmp_path / "again") == reference


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_saves_and_resuming_gives_what_an_uninterrupted_run_gives(
    recipe: Recipe,
    reference: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    run = tmp_path / "run"
    monkeypatch.setenv("TOY_KILL", f"b:3:{name}")
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted) as caught:
        train(recipe, run)
    assert caught.value.signum == signal.Signals[name]
    assert signal.getsignal(signal.SIGINT) is before
    assert json.loads((run / "summary.json").read_text())["policies"].keys() == {"a"}
    monkeypatch.delenv("TOY_KILL")
    train(recipe, run, resume=True)
    assert _traces(run) == reference


@pytest.mark.parametrize("at", ["a:1", "b:1", "b:4"])
def test_a_killed_run_resumes_to_the_same_result(
    recipe: Recipe, reference: dict[str, Any], tmp_path: Path, at: str
) -> None:
    """SIGKILL comes after a step is logged and before it is saved: the step must not be logged twice."""
    run = tmp_path / "run"
    code = (
        "import sys, conftest, rltk.registry\n"
        "from pathlib import Path\n"
        "from rltk.plugin_sources import local_source\n"
        "rltk.registry._current = rltk.registry.Registry([local_source(str(conftest.TOY_PLUGIN))])\n"
        "from rltk.config import load_recipe\n"
        "from rltk.runs import train\n"
        "train(load_recipe(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "toy.yaml"), str(run)],
        env={**os.environ, "TOY_KILL": f"{at}:SIGKILL", "PYTHONPATH": str(TESTS)},
    )
    assert result.returncode == -signal.SIGKILL
    train(recipe, run, resume=True)
    assert _traces(run) == reference


def test_a_stop_between_checkpoints_is_seen_before_the_next_stage(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_KILL", "a:4:SIGTERM")
    with pytest.raises(Interrupted):
        train(recipe, tmp_path / "run")
    assert not (tmp_path / "run" / "stages" / "b").exists()


def test_a_damaged_newest_checkpoint_costs_only_the_steps_since_the_one_before(
    recipe: Recipe, reference: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    monkeypatch.setenv("TOY_KILL", "b:3:SIGINT")
    with pytest.raises(Interrupted):
        train(recipe, run)
    monkeypatch.delenv("TOY_KILL")
    (run / "stages" / "b" / "checkpoints" / "step-000000003" / "tree.json").write_text("{}")
    with pytest.warns(RuntimeWarning, match="step-000000003"):
        train(recipe, run, resume=True)
    assert _traces(run) == reference


def test_events_are_fired_in_order(toys: Registry, recipe: Recipe, tmp_path: Path) -> None:
    seen: list[tuple[Any, ...]] = []

    class Watcher:
        @rltk.hookimpl
        def rltk_run_start(self, directory: Path, config: dict[str, Any]) -> None:
            seen.append(("run", directory.name, config["seed"]))

        @rltk.hookimpl
        def rltk_stage_start(self, stage: str, plugin: str, index: int, count: int) -> None:
            seen.append(("start", stage, plugin, index, count))

        @rltk.hookimpl
        def rltk_metrics(self, stage: str, step: int, total: int) -> None:
            seen.append(("metrics", stage, step, total))

        @rltk.hookimpl
        def rltk_checkpoint(self, stage: str, step: int, directory: Path) -> None:
            assert (directory / "manifest.json").is_file()
            seen.append(("checkpoint", stage, step))

        @rltk.hookimpl
        def rltk_stage_end(self, stage: str, results: dict[str, Any]) -> None:
            seen.append(("end", stage, results["toy"]))

        @rltk.hookimpl
        def rltk_run_end(self, error: BaseException | None) -> None:
            seen.append(("run end", error))

    toys.register(Watcher(), "watcher")
    train(recipe, tmp_path / "run")
    steps = [item for step in range(1, 5) for item in (("metrics", "a", step, 4), ("checkpoint", "a", step))]
    assert seen[:11] == [("run", "run", 1), ("start", "a", "count", 0, 2), *steps, ("end", "a", {"a": 1})]
    assert seen[-1] == ("run end", None)


def test_a_bug_in_a_stage_is_told_to_the_observers_and_keeps_what_is_done(
    toys: Registry, recipe_file: Path, tmp_path: Path
) -> None:
    errors = []

    class Watcher:
        @rltk.hookimpl
        def rltk_run_end(self, error: BaseException | None) -> None:
            errors.append(type(error))

    toys.register(Watcher(), "watcher")
    with pytest.raises(ZeroDivisionError):
        train(load_recipe(recipe_file, ["b.fail=true"]), tmp_path / "run")
    assert errors == [ZeroDivisionError]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["policies"].keys() == {"a"}


def _refused(recipe: Recipe, run: Path, *, resume: bool = False) -> str:
    with pytest.raises(UserError) as error, open_run(run, recipe, resume=resume):
        pass
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_directory_with_another_run_is_refused_naming_the_keys(
    recipe: Recipe, recipe_file: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    train(recipe, run)
    before = (run / "config.yaml").read_text()
    other = load_recipe(recipe_file, ["a.steps=9", "b.algorithm.clip_range=0.5", "seed=3"])
    for resume in (False, True):
        assert "differs in seed, a.steps, b.algorithm.clip_range" in _refused(other, run, resume=resume)
    assert "already holds this run" in _refused(recipe, run)
    assert (run / "config.yaml").read_text() == before


def test_directories_that_cannot_be_used(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("")
    assert "holds files but no run, got 'thesis.tex'" in _refused(recipe, tmp_path / "full")
    (tmp_path / "file").write_text("")
    assert "cannot be used as run directory" in _refused(recipe, tmp_path / "file")
    assert "cannot be used as run directory" in _refused(recipe, tmp_path / "file" / "below")


def test_two_processes_cannot_share_a_run(recipe: Recipe, tmp_path: Path) -> None:
    with open_run(tmp_path / "run", recipe, resume=False):
        assert f"process {os.getpid()} is using this run" in _refused(recipe, tmp_path / "run", resume=True)
    with open_run(tmp_path / "run", recipe, resume=True):
        pass


def test_a_full_disk_is_one_line_and_keeps_the_former_checkpoint(
    recipe: Recipe, reference: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("rltk.checkpoint._write_files", _after(2, OSError(28, "No space left on device")))
        with pytest.raises(UserError, match="cannot save: No space left on device"):
            train(recipe, tmp_path / "run")
    train(recipe, tmp_path / "run", resume=True)
    assert _traces(tmp_path / "run") == reference


def _after(calls: int, error: OSError) -> Any:
    """Return the real writer for some calls, then one that fails."""
    from rltk.checkpoint import _write_files

    counter = itertools.count()

    def write(directory: Path, tree: Any) -> None:
        if next(counter) >= calls:
            raise error
        _write_files(directory, tree)

    return write


def test_summaries_merge_by_name_with_the_final_policy_last(recipe: Recipe) -> None:
    record = {"seconds": 1.0, "peak_memory_gb": 2.0}
    summary = summarise(
        recipe,
        {
            "a": {**record, "results": {"policies": {"base": {"loss": 2}, "rl": {"loss": 1}}, "x": {"p": 1}}},
            "b": {
                **record,
                "peak_memory_gb": 1.0,
                "results": {"policies": {"base": {"u": 0}, "shots": {"u": 1}, "rl": {"u": 2}}, "x": {"q": 2}},
            },
        },
    )
    assert list(summary["policies"].items()) == [
        ("base", {"loss": 2, "u": 0}),
        ("shots", {"u": 1}),
        ("rl", {"loss": 1, "u": 2}),
    ]
    assert summary["x"] == {"p": 1, "q": 2}
    assert summary["peak_memory_gb"] == 2.0 and summary["seconds"] == {"a": 1.0, "b": 1.0}


def test_differing_keys() -> None:
    assert differing_keys({"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"b": 1, "c": 3}, "d": [1]}) == ["a.c"]
    assert differing_keys({"a": 1}, {"b": None, "a": 1}) == []
    assert differing_keys({"a": {"x": 1}}, {"a": 3}) == ["a"]


def test_plain_values() -> None:
    values = {"t": torch.tensor(2), "n": float("nan"), "i": float("inf"), "p": Path("x"), 3: (1, True)}
    assert plain(values) == {"t": 2, "n": None, "i": None, "p": "x", "3": [1, True]}


def test_metrics_are_cut_to_whole_lines(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    assert log.durable_size() == 0
    log.append({"step": 1, "loss": float("nan")})
    size = log.durable_size()
    log.append({"step": 2})
    log.cut(size)
    assert log.path.read_text() == '{"step": 1, "loss": null}\n'


def test_run_in_a_path_is_the_run_directory(recipe: Recipe, recipe_file: Path, tmp_path: Path) -> None:
    value = {"a": ["$RUN/x", "$RUNNER", "x/$RUN", 3], "b": "$RUN"}
    assert expand(value, Path("/r")) == {"a": ["/r/x", "$RUNNER", "x/$RUN", 3], "b": "/r"}
    with_path = load_recipe(recipe_file, ["environment.path=$RUN/data"])
    assert create_environment(with_path, tmp_path).config.path == f"{tmp_path}/data"


def test_devices() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(UserError, match="device: not on this machine, got 'cuda:99'"):
        choose_device("cuda:99")


def test_default_directories_are_unused(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = []
    for _ in range(3):
        made.append(default_directory(recipe.name))
        made[-1].mkdir(parents=True)
    assert len(set(made)) == 3 and all(path.parent == Path("runs") for path in made)
