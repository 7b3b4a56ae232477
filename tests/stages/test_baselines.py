"""Policies without parameters in recipes: evaluated beside the others, not trained."""

import json

import pytest

from rltk.config import load_recipe
from rltk.errors import UserError
from rltk.models import save_model
from rltk.runs import train
from tests.text_world import tiny_model, word_tokenizer

CARTPOLE = ["rl.iterations=1", "evaluate.num_prompts=40", "evaluate.num_envs=8"]
RANDOM = "evaluate.policies.random.policy.name=random"

TEXT = """
seed: 3
environment: {{name: files, prompts: {prompts}, template: "{{prompt}} w28", max_new_tokens: 4}}
stages:
  evaluate:
    stage: evaluate
    reference: sft
    corpus_tokens: 0
    num_envs: 4
    policies:
      sft: {{policy: {{name: causal_lm, path: {policy}}}}}
"""


@pytest.fixture
def text(tmp_path):
    save_model(tiny_model(), word_tokenizer(), tmp_path / "policy")
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"w{n} w{n + 1}"}) + "\n" for n in range(20)))
    (tmp_path / "text.yaml").write_text(TEXT.format(prompts=prompts, policy=tmp_path / "policy"))
    return tmp_path / "text.yaml"


def test_random_falls_over_like_random(tmp_path):
    """A random policy keeps the pole up for 22 steps on average; the trained policy stays the last."""
    results = train(load_recipe("cartpole", [*CARTPOLE, RANDOM]), tmp_path / "run")
    assert list(results["policies"]) == ["random", "rl"]
    assert 15 < results["policies"]["random"]["return"] < 32


def test_a_script_balances_the_pole(tmp_path):
    """Pushing towards where the pole falls is enough for about 200 steps."""
    script = tmp_path / "script.py"
    script.write_text("def push(observation):\n    return int(observation[2] + observation[3] > 0)\n")
    scripted = f"evaluate.policies.push.policy={{name: scripted, function: '{script}:push'}}"
    results = train(load_recipe("cartpole", [*CARTPOLE, scripted]), tmp_path / "run")
    assert 150 < results["policies"]["push"]["return"] <= 500


def test_random_text_in_the_tokens_of_another_policy(text, tmp_path):
    tokenizer = f"evaluate.policies.random.policy.tokenizer_path={tmp_path / 'policy'}"
    results = train(load_recipe(text, [RANDOM, tokenizer]), tmp_path / "run")
    random, sft = results["policies"]["random"], results["policies"]["sft"]
    assert list(results["policies"]) == ["random", "sft"]
    assert random["kl"] > 0.1 and sft["kl"] == pytest.approx(0.0, abs=1e-4)
    assert random["path"] is None and random["length"] > 3.5


def test_other_tokens_have_no_kl(text, tmp_path):
    """The environment's own tokenizer is another than the reference's."""
    other = word_tokenizer()
    other.add_tokens(["w29"])
    other.save_pretrained(tmp_path / "other")
    tokenizer = f"evaluate.policies.random.policy.tokenizer_path={tmp_path / 'other'}"
    results = train(load_recipe(text, [RANDOM, tokenizer]), tmp_path / "run")
    assert results["policies"]["random"]["kl"] is None


def test_what_has_nothing_to_train_is_refused(tmp_path):
    words = r"stages\.rl\.policy\.name: 'random' has nothing to train\. Fix: choose mlp or causal_lm here"
    with pytest.raises(UserError, match=words):
        train(load_recipe("cartpole", ["rl.policy.name=random"]), tmp_path / "run")


def test_text_policies_in_a_control_task_are_refused(text, tmp_path):
    path = f"rl.policy={{name: causal_lm, path: {tmp_path / 'policy'}}}"
    with pytest.raises(UserError, match=r"policy\.name: 'causal_lm' acts on text, not on arrays, got Box"):
        train(load_recipe("cartpole", [path]), tmp_path / "run")
