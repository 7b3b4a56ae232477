"""The shipped recipes: all parse, and the whole road runs at its tiny size."""

import json
import math

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
from typer.testing import CliRunner

from rltk.cli import app
from rltk.config import load_recipe, recipe_names, validate_recipe
from rltk.errors import Interrupted
from rltk.runs import StageContext, train
from rltk.training import weights

TINY_RL = ["rl.iterations=3", "rl.episodes=32"]


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "tiny"
    train(load_recipe("instructgpt-tiny", TINY_RL), directory)
    return directory


def read_summary(directory):
    return json.loads((directory / "summary.json").read_text())


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_is_valid_and_its_resolved_form_too(name):
    needs = [
        f"environment.{kind}={__file__}" for kind in ("corpus", "demonstrations", "comparisons", "prompts")
    ]
    recipe = load_recipe(name, needs if name == "instructgpt-files" else [])
    assert validate_recipe(recipe.resolved(), name) == recipe


def test_the_summary_compares_the_policies_in_order(tiny_run):
    summary = read_summary(tiny_run)
    assert list(summary["policies"]) == ["base", "few-shot", "sft", "rl"]
    for policy in summary["policies"].values():
        assert 0 <= policy["utility"] <= 1
        low, high = policy["win_rate_ci"]
        assert 0 <= low <= policy["win_rate"] <= high <= 1
        assert math.isfinite(policy["corpus_loss"])
    assert summary["policies"]["sft"]["win_rate"] == 0.5
    assert summary["policies"]["sft"]["kl"] == pytest.approx(0.0, abs=1e-4)
    assert {"accuracy", "agreement", "length_baseline"} <= summary["reward_model"].keys()


def test_what_a_run_leaves_opens_with_transformers(tiny_run):
    for stage in ("pretrain", "sft", "rl"):
        model = AutoModelForCausalLM.from_pretrained(tiny_run / "stages" / stage / "policy")
        assert model.config.vocab_size == model.get_output_embeddings().out_features
    model = AutoModelForSequenceClassification.from_pretrained(tiny_run / "stages/reward_model/model")
    assert math.isfinite(model.config.reward_bias)


def test_rankings_are_of_four_to_nine_responses_and_prompts_of_splits_do_not_mix(tiny_run):
    lines = (tiny_run / "stages/comparisons/rankings.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert {len(row["responses"]) for row in rows} <= set(range(4, 10))
    assert all(len(row["ranks"]) == len(row["responses"]) for row in rows)
    prompts = {
        split: {row["prompt"] for row in rows if row["split"] == split} for split in ("train", "validation")
    }
    assert prompts["train"] and prompts["validation"] and not prompts["train"] & prompts["validation"]


def test_the_reinforced_policy_has_moved_and_the_report_is_there(tiny_run):
    sft, rl = (
        weights(AutoModelForCausalLM.from_pretrained(tiny_run / "stages" / stage / "policy"))
        for stage in ("sft", "rl")
    )
    assert any(not torch.equal(sft[name], rl[name]) for name in sft)
    assert "<table" in (tiny_run / "report.html").read_text()


def test_generate_answers_with_the_final_policy(tiny_run):
    result = CliRunner().invoke(app, ["generate", str(tiny_run), "list three animals"])
    assert result.exit_code == 0, result.output
    again = CliRunner().invoke(app, ["generate", str(tiny_run), "list three animals"])
    assert result.output == again.output


def test_trpo_takes_ppos_place_by_one_word(tiny_run, tmp_path):
    """Only the rl stage runs: its recipe reads what the other stages of the tiny run left."""
    recipe = tmp_path / "trpo.yaml"
    stages = tiny_run / "stages"
    recipe.write_text(
        f"""
environment: {{name: instruct, num_prompts: 100, max_new_tokens: 12}}
stages:
  rl:
    stage: rl
    policy:
      name: causal_lm
      path: {stages}/sft/policy
      critic: separate
      critic_path: {stages}/reward_model/model
    reference: {{name: causal_lm, path: {stages}/sft/policy}}
    reward: {{name: preference_model, path: {stages}/reward_model/model}}
    algorithm: {{name: ppo}}
    iterations: 2
    episodes: 32
"""
    )
    summary = train(
        load_recipe(recipe, ["rl.algorithm.name=trpo", "rl.algorithm.max_kl=0.02"]), tmp_path / "run"
    )
    assert 0 < summary["rl"]["step_kl"] <= 0.02
    assert summary["rl"]["improvement"] > 0


def test_an_interrupted_rl_stage_resumes_to_the_same_weights(tiny_run, tmp_path, monkeypatch):
    """Stop after the second iteration, go on, and compare with the run that was never stopped."""
    overrides = [*TINY_RL, "checkpoint_seconds=0"]
    directory = tmp_path / "run"
    log = StageContext.log

    def stop_in_rl(self, step, total, metrics):
        log(self, step, total, metrics)
        if self.name == "rl" and step == 2:
            self._stop.signum = 2

    monkeypatch.setattr(StageContext, "log", stop_in_rl)
    with pytest.raises(Interrupted):
        train(load_recipe("instructgpt-tiny", overrides), directory)
    monkeypatch.setattr(StageContext, "log", log)
    train(load_recipe("instructgpt-tiny", overrides), directory, resume=True)
    for name in ("model.safetensors", "critic/model.safetensors"):
        path = f"stages/rl/policy/{name}"
        assert (directory / path).read_bytes() == (tiny_run / path).read_bytes()
    before, after = (
        [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        for run in (tiny_run, directory)
    )
    assert [(row["stage"], row["step"], row["metrics"]) for row in before] == [
        (row["stage"], row["step"], row["metrics"]) for row in after
    ]


@pytest.mark.slow
def test_the_default_recipe_shows_what_it_claims(tmp_path):
    summary = train(load_recipe("instructgpt-mini"), tmp_path / "run")
    policies, reward_model = summary["policies"], summary["reward_model"]
    utilities = [policies[name]["utility"] for name in ("base", "few-shot", "sft", "rl")]
    assert utilities == sorted(utilities)
    assert policies["rl"]["utility"] >= policies["sft"]["utility"] + 0.08
    assert policies["rl"]["win_rate_ci"][0] > 0.55
    assert reward_model["accuracy"] >= reward_model["agreement"] - 0.03
    assert summary["peak_memory_gb"] < 3
