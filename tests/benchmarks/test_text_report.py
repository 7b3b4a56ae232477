"""The report of the text benchmark, on runs made up by hand."""

import json
from pathlib import Path
from xml.etree import ElementTree

import yaml

from tests.benchmarks.text_algorithms import ALGORITHMS, derived_recipe
from tests.benchmarks.text_report import COLOURS, Run, frontier, result_table, spread, write_report

FINAL = {"utility": 0.5, "utility_greedy": 0.6, "win_rate": 0.66, "reward": 1.0, "kl": 1.5}


def _run(algorithm: str, seed: int, **final: float) -> Run:
    curve = [(0.0, 0.3, 0.0), (1.0, 0.5, 1.0)]
    return Run(algorithm, seed, 60_000, 100.0, curve, {**FINAL, **final}, FINAL)


def test_a_spread_is_the_mean_and_the_extremes() -> None:
    assert spread([0.5, 0.6, 0.55]) == "0.55 [0.50, 0.60]"
    assert spread([60_000.0, 62_000.0]) == "61,000 [60,000, 62,000]"


def test_the_table_has_a_row_an_algorithm() -> None:
    header, rows = result_table([_run("ppo", 0), _run("rloo", 0), _run("ppo", 1, utility=0.7)])
    assert [row[:3] for row in rows] == [
        ["ppo", "2", "0.60 [0.50, 0.70]"],
        ["rloo", "1", "0.50 [0.50, 0.50]"],
    ]
    assert header[4] == "win rate vs sft, %" and rows[0][4] == "66 [66, 66]"


def test_the_picture_is_svg_with_a_line_a_run_and_panel() -> None:
    root = ElementTree.fromstring(frontier([_run("ppo", 0), _run("ppo", 1), _run("rloo", 0)]))
    lines = root.findall(".//{*}polyline")
    assert [line.get("stroke") for line in lines] == 2 * [COLOURS["ppo"], COLOURS["ppo"], COLOURS["rloo"]]


def test_a_finished_run_is_read_and_reported(tmp_path: Path) -> None:
    run = tmp_path / "ppo-0"
    run.mkdir()
    summary = {
        "rl": {"iterations": 2, "episodes": 1024},
        "seconds": {"rl": 12.5},
        "policies": {"sft": FINAL, "rl": FINAL},
    }
    (run / "summary.json").write_text(json.dumps(summary))
    rows = [
        {"stage": "rl", "metrics": {"rl/length": 7.5, "rl/kl": 0.1, "rl/utility": 0.3, "rl/score": 0.2}},
        {"stage": "rl", "metrics": {"rl/length": 6.0, "rl/kl": 0.4, "rl/utility": 0.5, "rl/score": 0.9}},
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    read = Run.read(run, "ppo", 0)
    assert read.tokens == 512 * 13.5 and read.curve == [(0.1, 0.3, 0.2), (0.4, 0.5, 0.9)]
    write_report([read], tmp_path)
    write_report([read], tmp_path)  # the markers stay
    assert (tmp_path / "text_algorithms.md").read_text().count("| ppo |") == 1


def test_the_recipe_goes_on_from_the_base_run(tmp_path: Path) -> None:
    stages = {
        "sft": {"stage": "sft"},
        "rl": {"stage": "rl", "policy": {"name": "causal_lm", "path": "$RUN/stages/sft/policy"}},
        "evaluate": {
            "stage": "evaluate",
            "policies": {"base": {}, "sft": {}, "rl": {"path": "$RUN/stages/rl/x"}},
        },
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"seed": 0, "stages": stages}))
    recipe = derived_recipe(tmp_path)
    assert list(recipe["stages"]) == ["rl", "evaluate"]
    assert recipe["stages"]["rl"]["policy"]["path"] == f"{tmp_path.resolve()}/stages/sft/policy"
    assert recipe["stages"]["evaluate"]["policies"] == {"sft": {}, "rl": {"path": "$RUN/stages/rl/x"}}


def test_every_algorithm_has_a_colour() -> None:
    assert set(ALGORITHMS) <= set(COLOURS)


def test_a_point_of_the_curve_is_the_mean_of_as_many_episodes_whatever_the_rollouts(tmp_path: Path) -> None:
    run = tmp_path / "a2c-0"
    run.mkdir()
    summary = {
        "rl": {"iterations": 4, "episodes": 1024},
        "seconds": {"rl": 1.0},
        "policies": {"sft": FINAL, "rl": {**FINAL, "path": "somewhere"}},
    }
    (run / "summary.json").write_text(json.dumps(summary))
    rows = [
        {"stage": "rl", "metrics": {"rl/length": 1.0, "rl/kl": kl, "rl/utility": 0.5, "rl/score": kl + 1}}
        for kl in (1.0, 2.0, 3.0, 5.0)
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    read = Run.read(run, "a2c", 0)
    assert read.curve == [(1.5, 0.5, 2.5), (4.0, 0.5, 5.0)]
    assert "path" not in read.final
