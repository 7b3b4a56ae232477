import json
import shutil
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, GPT2Config

from rltk.config import load_recipe
from rltk.errors import UserError
from rltk.generation import generate, policy_directory
from rltk.registry import get_registry
from rltk.rng import seeded_initialisation

CONFIG = """
environment: {name: instruct}
stages: {pretrain: {stage: pretrain}}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with an untrained policy in it."""
    directory = tmp_path_factory.mktemp("run")
    (directory / "config.yaml").write_text(CONFIG)
    tokenizer = get_registry().get("environment", "instruct")(None, seed=0).build_tokenizer()
    config = GPT2Config(vocab_size=len(tokenizer), n_positions=64, n_embd=8, n_layer=1, n_head=2)
    config.eos_token_id, config.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    with seeded_initialisation(0):
        model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(directory / "stages" / "pretrain" / "policy")
    tokenizer.save_pretrained(directory / "stages" / "pretrain" / "policy")
    return directory


def test_where_the_environment_answers_in_between_there_is_one_clear_line(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "dialogue")
    (tmp_path / "dialogue/config.yaml").write_text(CONFIG.replace("instruct", "dialogue"))
    with pytest.raises(UserError, match="'dialogue' answers between a policy's turns"):
        generate(tmp_path / "dialogue", "hello")


def test_a_prompt_nobody_wrote_a_task_for_is_answered(run: Path) -> None:
    answer = generate(run, "list three animals", max_new_tokens=5, seed=1)
    assert 0 < len(answer.split()) <= 5
    assert answer == generate(run, "list three animals", max_new_tokens=5, seed=1)
    greedy = [generate(run, "name a bird", max_new_tokens=5, seed=seed, greedy=True) for seed in (1, 2)]
    assert greedy[0] == greedy[1]


def test_a_prompt_that_does_not_fit_is_one_line(run: Path) -> None:
    with pytest.raises(UserError):
        generate(run, "animals " * 100, max_new_tokens=5)


@pytest.mark.usefixtures("toys")
def test_the_final_policy_is_the_last_of_the_summary(recipe_file: Path, tmp_path: Path) -> None:
    recipe = load_recipe(recipe_file)
    with pytest.raises(UserError, match="holds no text policy"):
        policy_directory(recipe, tmp_path)
    for stage in ("a", "b"):
        (tmp_path / "stages" / stage / "policy").mkdir(parents=True)
        (tmp_path / "stages" / stage / "policy" / "config.json").write_text("{}")
    assert policy_directory(recipe, tmp_path) == tmp_path / "stages/b/policy"
    (tmp_path / "summary.json").write_text(
        json.dumps({"policies": {"last": {"path": "stages/b/policy"}, "base": {"path": "stages/a/policy"}}})
    )
    assert policy_directory(recipe, tmp_path) == tmp_path / "stages/a/policy"
    assert policy_directory(recipe, tmp_path, "last") == tmp_path / "stages/b/policy"
    with pytest.raises(UserError, match=r"--policy: no such policy, got 'lsat'. Fix: did you mean 'last'"):
        policy_directory(recipe, tmp_path, "lsat")
