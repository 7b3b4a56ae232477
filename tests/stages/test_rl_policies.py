"""What the rl stage makes of its policy: under LoRA a reference on its own weights; a critic if needed."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from rltk.config import load_recipe
from rltk.errors import UserError
from rltk.models import save_model
from rltk.runs import train
from rltk_policies.causal_lm.adapter_off import AdapterOff
from rltk_policies.causal_lm.critic import SeparateCritic
from rltk_policies.causal_lm.policy import CausalLMPolicy
from rltk_stages.rl import ReinforcementLearning
from tests.text_world import tiny_model, word_tokenizer

RECIPE = """
seed: 3
environment: {{name: files, prompts: {prompts}, template: "{{prompt}} w28", max_new_tokens: 4}}
stages:
  rl:
    stage: rl
    policy: {{name: causal_lm, path: {policy}}}
    reference: {{name: causal_lm, path: {policy}}}
    reward: {{name: length}}
    algorithm: {{name: ppo, epochs: 2, minibatch_size: 6, learning_rate: 0.01}}
    iterations: 2
    episodes: 12
    num_envs: 5
"""


@pytest.fixture
def recipe(tmp_path):
    save_model(tiny_model(), word_tokenizer(), tmp_path / "policy")
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(f'{{"prompt": "w{n} w{n + 1}"}}\n' for n in range(6)))
    (tmp_path / "tiny.yaml").write_text(RECIPE.format(prompts=prompts, policy=tmp_path / "policy"))
    return tmp_path / "tiny.yaml"


def run(recipe, directory, *overrides, monkeypatch):
    """Run the recipe and return its rl stage."""
    stages = []
    original = ReinforcementLearning.run
    monkeypatch.setattr(ReinforcementLearning, "run", lambda self: stages.append(self) or original(self))
    results = train(load_recipe(recipe, overrides), directory)
    return stages[0], results["rl"]


def test_an_adapters_base_is_the_reference(recipe, tmp_path, monkeypatch):
    pytest.importorskip("peft")
    stage, results = run(recipe, tmp_path / "run", "rl.policy.lora={rank: 4}", monkeypatch=monkeypatch)
    assert isinstance(stage.reference, AdapterOff) and stage.reference.model is stage.policy.model
    pointers = [
        {p.data_ptr() for p in policy.model.parameters()} for policy in (stage.reference, stage.policy)
    ]
    assert pointers[0] == pointers[1]
    assert results["kl"] != 0.0
    started_from = AutoModelForCausalLM.from_pretrained(tmp_path / "policy").state_dict()
    for name, weight in stage.policy.model.state_dict().items():
        if ".lora_" not in name:
            assert torch.equal(started_from[name.replace(".base_layer.", ".")], weight), name
    saved = tmp_path / "run/stages/rl/policy"
    assert (
        AutoModelForCausalLM.from_pretrained(saved) and (saved / "adapter/adapter_model.safetensors").exists()
    )


def test_the_kl_is_that_to_a_reference_of_its_own(recipe, tmp_path, monkeypatch):
    pytest.importorskip("peft")
    _, shared = run(recipe, tmp_path / "shared", "rl.policy.lora={rank: 4}", monkeypatch=monkeypatch)
    monkeypatch.setattr(CausalLMPolicy, "reference", lambda self, config: None)
    stage, own = run(recipe, tmp_path / "own", "rl.policy.lora={rank: 4}", monkeypatch=monkeypatch)
    assert stage.reference.model is not stage.policy.model
    assert shared["kl"] == pytest.approx(own["kl"], rel=1e-5) and shared["kl_k3"] > 0


def test_a_policy_trained_as_a_whole_has_a_reference_of_its_own(recipe, tmp_path, monkeypatch):
    stage, results = run(recipe, tmp_path / "run", monkeypatch=monkeypatch)
    assert type(stage.reference) is CausalLMPolicy and stage.reference.model is not stage.policy.model
    assert not any(p.requires_grad for p in stage.reference.parameters()) and results["kl"] != 0.0


NEEDING_A_CRITIC = ["rl.algorithm.name=ppo", "rl.algorithm.name=trpo", "rl.algorithm.name=reinforce"]


@pytest.mark.parametrize("algorithm", NEEDING_A_CRITIC)
def test_an_algorithm_that_needs_a_critic_is_not_given_a_policy_without_one(
    algorithm, recipe, tmp_path, monkeypatch
):
    words = r"policy\.critic: '\w+' learns from a critic, and this policy has none\. Fix: choose "
    with pytest.raises(UserError, match=words):
        run(recipe, tmp_path / "run", algorithm, "rl.policy.critic=none", monkeypatch=monkeypatch)


@pytest.mark.parametrize("algorithm", ["grpo", "rloo", "reinforce"])
def test_a_critic_that_nothing_learns_from_reads_no_text(algorithm, recipe, tmp_path, monkeypatch):
    passes = []
    read = SeparateCritic.forward
    monkeypatch.setattr(
        SeparateCritic, "forward", lambda self, *given: passes.append(1) or read(self, *given)
    )
    separate = ["rl.policy.critic=separate", "rl.group_size=3"]
    run(recipe, tmp_path / "ppo", *separate, monkeypatch=monkeypatch)
    assert passes
    passes.clear()
    options = [f"rl.algorithm.name={algorithm}"]
    if algorithm == "reinforce":
        options.append("rl.algorithm.baseline=none")
    _, results = run(recipe, tmp_path / algorithm, *separate, *options, monkeypatch=monkeypatch)
    assert not passes and "explained_variance" not in results
