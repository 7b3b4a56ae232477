import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import rltk.bench.workshop
from rltk.bench.plan import Cell
from rltk.bench.reporting.tables import score_table
from rltk.bench.results import read_results
from rltk.bench.running import run_bench
from rltk.bench.summary import summarise
from rltk.errors import Interrupted, UserError
from tests.bench.conftest import WORLD, config_of, contents, play

SEVERAL: dict[str, Any] = {
    "policies": {"random": "random", "oracle": "oracle", "best": {"best_of": 2, "of": "random"}},
    "environments": ["echo", "lock", "CartPole-v1"],
}
FAILS: dict[str, Any] = {
    "policies": {"random": "random", "broken": {"policy": {"name": "fails"}}},
    "environments": ["echo"],
}


def test_every_cell_has_a_file_of_records(tmp_path: Path) -> None:
    outcome = play(tmp_path / "b", **SEVERAL)
    assert outcome.errors == {}
    results = read_results(tmp_path / "b")
    assert len(results.records) == 7 * 2 * 4
    assert {path for path in contents(tmp_path / "b") if path.startswith("cells")} == {
        f"cells/{policy}/{environment}/{seed}.jsonl"
        for policy in SEVERAL["policies"]
        for environment in SEVERAL["environments"]
        for seed in range(2)
        if environment != "CartPole-v1" or policy == "random"
    }
    assert results.plan["environments"]["echo"] == {
        "text": True,
        "oracle": True,
        "episodes": 4,
        "bounds": [0.0, 1.0],
    }


def test_all_policies_meet_the_same_prompts_in_the_same_order(tmp_path: Path) -> None:
    play(tmp_path / "b", {**SEVERAL["policies"]}, ["echo", "lock"], samples=2)
    met: dict[Any, list[Any]] = {}
    for record in read_results(tmp_path / "b").records:
        place = (record.prompt, record.prompt_key, record.sample, record.prompt_text)
        met.setdefault((record.policy, record.environment, record.seed), []).append(place)
    for environment in ("echo", "lock"):
        for seed in range(2):
            decks = {json.dumps(met[policy, environment, seed]) for policy in SEVERAL["policies"]}
            assert len(decks) == 1
    assert met["random", "echo", 0] != met["random", "echo", 1]
    assert [place[2] for place in met["random", "echo", 0]] == [0, 1, 0, 1]


def test_the_same_bench_gives_the_same_bytes(tmp_path: Path) -> None:
    play(tmp_path / "a", **SEVERAL)
    play(tmp_path / "b", **SEVERAL)
    play(tmp_path / "c", **SEVERAL, slots=3)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a" / "cells") == contents(tmp_path / "c" / "cells")


def test_the_oracle_of_instruct_is_at_its_bound(tmp_path: Path) -> None:
    play(tmp_path / "b", ["random", "oracle"], ["rltk/Instruct-v0"], episodes=40, seeds=1)
    results = read_results(tmp_path / "b")
    bounds = results.plan["environments"]["instruct"]["bounds"]
    means = [
        sum(record.score for record in results.records if record.policy == policy) / 40
        for policy in ("random", "oracle")
    ]
    assert means == bounds == [0.0, 1.0]


def test_a_proxy_and_a_reference_are_measured(tmp_path: Path, model: str) -> None:
    sharp = {"policy": {"name": "causal_lm", "path": model, "temperature": 0.3}}
    world = {"echo": {"environment": "echo", "reward": {"name": "length", "target": 3}}}
    policies = {"base": model, "sharp": sharp, "best": {"best_of": 4, "of": "base"}, "random": "random"}
    play(tmp_path / "b", policies, world, reference="base", seeds=1)
    by_policy: dict[str, list[Any]] = {}
    for record in read_results(tmp_path / "b").records:
        by_policy.setdefault(record.policy, []).append(record)
        assert record.reward is not None
    assert all(abs(record.kl) < 1e-3 for record in by_policy["base"])
    assert sum(record.kl for record in by_policy["sharp"]) > 0.1
    assert {round(record.kl, 4) for record in by_policy["best"]} == {0.6363}
    assert sum(record.kl for record in by_policy["random"]) > 0


def test_where_there_is_no_truth_the_reward_is_the_score(tmp_path: Path) -> None:
    world = {"environment": "no_truth", "reward": {"name": "length", "target": 3}}
    play(tmp_path / "a", ["random"], {"w": world})
    assert all(record.score == record.reward for record in read_results(tmp_path / "a").records)
    outcome = play(tmp_path / "b", ["random"], ["no_truth"])
    assert {reason.split(",")[0].split(". Fix")[0] for reason in outcome.errors.values()} == {
        "score: the environment has no truth to score by"
    }


def test_a_failed_cell_is_an_error_and_the_others_go_on(tmp_path: Path) -> None:
    outcome = play(tmp_path / "b", **FAILS)
    assert outcome.errors == {
        Cell("broken", None, "echo", seed): "ZeroDivisionError: a bug in two lines" for seed in range(2)
    }
    results = read_results(tmp_path / "b")
    assert {record.policy for record in results.records} == {"random"}
    assert results.errors == dict.fromkeys(
        ["broken/echo/0", "broken/echo/1"], "ZeroDivisionError: a bug in two lines"
    )
    log = (tmp_path / "b" / "error.log").read_text()
    assert log.count("Traceback") == 2
    assert "world.py" in log
    header, rows = score_table(summarise(results))
    assert (header, rows[1]) == (["policy", "echo"], ["broken", "ERROR 2/2"])


def test_failed_cells_are_tried_again_and_finished_ones_left(tmp_path: Path) -> None:
    switch = tmp_path / "repaired"
    policies = {"random": "random", "broken": {"policy": {"name": "fails", "unless": str(switch)}}}
    config = config_of(policies, ["echo"])
    assert len(run_bench(config, tmp_path / "b").errors) == 2
    kept = (tmp_path / "b" / "cells/random/echo/0.jsonl").stat().st_mtime_ns
    switch.touch()
    assert run_bench(config, tmp_path / "b", resume=True).errors == {}
    assert (tmp_path / "b" / "cells/random/echo/0.jsonl").stat().st_mtime_ns == kept
    assert not list((tmp_path / "b").rglob("*.error"))
    assert (tmp_path / "b" / "error.log").read_text() == ""
    assert len(read_results(tmp_path / "b").records) == 16


def test_torn_files_are_played_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = config_of(["random"], ["echo"])
    run_bench(config, tmp_path / "b")
    whole = contents(tmp_path / "b")
    torn = tmp_path / "b" / "cells/random/echo/1.jsonl"
    torn.write_bytes(torn.read_bytes()[:-30])
    with pytest.raises(UserError, match=r"1\.jsonl: the file breaks off"):
        read_results(tmp_path / "b")
    run_bench(config, tmp_path / "b", resume=True)
    assert "1.jsonl: the file breaks off; the cell is played again" in capsys.readouterr().err
    assert contents(tmp_path / "b") == whole
    torn.write_bytes(b"".join(torn.read_bytes().splitlines(keepends=True)[:-1]))
    run_bench(config, tmp_path / "b", resume=True)
    assert contents(tmp_path / "b") == whole


def test_another_config_is_refused(tmp_path: Path) -> None:
    run_bench(config_of(["random"], ["echo"]), tmp_path / "b")
    with pytest.raises(UserError, match="it differs in seeds"):
        run_bench(config_of(["random"], ["echo"], seeds=3), tmp_path / "b", resume=True)
    with pytest.raises(UserError, match=r"already holds this run\. Fix: add --resume"):
        run_bench(config_of(["random"], ["echo"]), tmp_path / "b")


def test_runs_that_came_since_are_refused(tmp_path: Path) -> None:
    from tests.bench.test_sources import make_run

    make_run(tmp_path / "ppo-0", "sft")
    config = config_of({"ppo": f"{tmp_path}/ppo-*"}, ["echo"], seeds=1)
    assert len(run_bench(config, tmp_path / "b").errors) == 1  # there are no weights
    make_run(tmp_path / "ppo-1", "sft")
    with pytest.raises(UserError, match=r"plan\.json: other runs or environments than before: policies"):
        run_bench(config, tmp_path / "b", resume=True)


def test_a_signal_keeps_what_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(["random"], ["echo"], seeds=3)
    plain = rltk.bench.workshop.Workshop.attempt

    def interrupted(self: Any, cell: Cell) -> Any:
        if cell.seed == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return plain(self, cell)

    monkeypatch.setattr(rltk.bench.workshop.Workshop, "attempt", interrupted)
    with pytest.raises(Interrupted):
        run_bench(config, tmp_path / "b")
    assert len(list((tmp_path / "b" / "cells").rglob("*.jsonl"))) == 2
    monkeypatch.undo()
    run_bench(config, tmp_path / "b", resume=True)
    run_bench(config, tmp_path / "whole")
    assert contents(tmp_path / "b") == contents(tmp_path / "whole")


def test_a_directory_without_a_bench_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no bench is here"):
        read_results(tmp_path)


def test_a_tokenizer_that_does_not_know_the_prompts_is_an_error_of_its_cells(
    tmp_path: Path, model: str
) -> None:
    outcome = play(tmp_path / "b", {"lm": model}, ["instruct", "echo"], seeds=1)
    assert [str(cell) for cell in outcome.errors] == ["lm/instruct/0"]
    assert "the policy's tokenizer has no tokens for the prompts" in next(iter(outcome.errors.values()))


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from rltk.cli import main; main()", "bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.slow
def test_workers_change_nothing_and_one_that_dies_costs_its_cell(tmp_path: Path, model: str) -> None:
    common = ["--envs", "echo", "CartPole-v1", "-p", WORLD, "--seeds", "2", "--episodes", "6"]
    policies = ["--policies", "random", "oracle", model]
    for workers in ("1", "2"):
        made = run_command(*policies, *common, "--workers", workers, "--run", str(tmp_path / workers))
        assert made.returncode == 0, made.stderr
        assert "oracle in CartPole-v1: left out: the environment has no oracle" in made.stdout
    assert contents(tmp_path / "1") == contents(tmp_path / "2") | {
        "run.lock": contents(tmp_path / "1")["run.lock"]
    }
    path = tmp_path / "dies.yaml"
    path.write_text("policies: {random: random, dies: {policy: {name: fails, dies: true}}}\n")
    made = run_command(str(path), *common, "--workers", "2", "--run", str(tmp_path / "dies"))
    assert made.returncode == 1
    assert "dies/echo/0: the worker died (exit code 9)" in made.stderr
    assert "tracebacks in" in made.stderr
    assert len(read_results(tmp_path / "dies").records) == 2 * 2 * 6


@pytest.mark.slow
def test_the_command_says_in_one_line_what_is_wrong(tmp_path: Path) -> None:
    made = run_command("--policies", "rndom", "--envs", "CartPole-v1", "--run", str(tmp_path / "b"))
    assert made.returncode == 2
    assert made.stderr.splitlines()[-1].startswith("rltk: error: policies.rndom: unknown policy")
    assert not (tmp_path / "b").exists()
