"""Prompts of any JSONL file on the bench: scored by a reward, as they have no truth of their own."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rltk.bench.config import validate_bench
from rltk.bench.entries import spell_out_entry
from rltk.cli import app
from rltk.errors import UserError

PLUGIN = """
import rltk


class Echo(rltk.RewardModel):
    "Pays 1 for a response that ends by itself and holds no letter of the row's taboo."

    name = "echo"

    def score(self, episodes):
        return [float(not set(e.columns["taboo"]) & set(e.response)) for e in episodes]


@rltk.hookimpl
def rltk_reward_models():
    return [Echo]
"""


def write(path: Path) -> Path:
    rows = [{"prompt": f"say {n}", "taboo": "e" if n % 2 else "", "split": "test"} for n in range(6)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_an_id_with_options_is_the_component_with_them() -> None:
    sort = {"name": "sort", "level": "hard"}
    assert spell_out_entry({"id": "rltk/Sort-v0", "level": "hard", "split": "validation"}) == {
        "environment": sort,
        "split": "validation",
    }
    assert spell_out_entry({"id": "FrozenLake-v1", "is_slippery": False}) == {
        "environment": {"name": "gymnasium", "id": "FrozenLake-v1", "options": {"is_slippery": False}}
    }
    given = {"id": "rltk/TextGeneration-v0", "prompts": "x.jsonl", "reward": {"name": "length"}}
    files = {"name": "files", "prompts": "x.jsonl"}
    assert spell_out_entry(given) == {"environment": files, "reward": {"name": "length"}}


def test_an_unknown_id_is_one_line() -> None:
    with pytest.raises(UserError, match=r"unknown environment, got 'rltk/Srot-v0'"):
        validate_bench({"policies": ["random"], "environments": [{"id": "rltk/Srot-v0"}]}, "bench")


def test_any_prompts_and_any_reward_make_a_bench(tmp_path: Path) -> None:
    (tmp_path / "echo.py").write_text(PLUGIN)
    bench = {
        "policies": {"random": "random"},
        "environments": {
            "mine": {
                "id": "rltk/TextGeneration-v0",
                "prompts": str(write(tmp_path / "x.jsonl")),
                "max_new_tokens": 5,
                "vocab_size": 270,
                "reward": {"name": "echo"},
            }
        },
        "seeds": 2,
        "episodes": 6,
    }
    (tmp_path / "bench.yaml").write_text(json.dumps(bench))
    arguments = ["bench", str(tmp_path / "bench.yaml"), "--run", str(tmp_path / "run")]
    result = CliRunner().invoke(app, [*arguments, "-p", str(tmp_path / "echo.py")])
    assert result.exit_code == 0, result.output
    for seed in (0, 1):
        lines = (tmp_path / "run" / "cells" / "random" / "mine" / f"{seed}.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        assert len(records) == 6 and {record["prompt_text"] for record in records} == {
            f"say {n}" for n in range(6)
        }
        for record in records:
            taboo = "e" if int(record["prompt_text"][-1]) % 2 else ""
            assert record["score"] == record["reward"] == float(not set(taboo) & set(record["response"]))
