"""The environment component: what stages ask of it."""

import numpy as np
import pytest
from pydantic import ValidationError

from rltk.episode import Episode
from rltk_envs.instruct import rltk_environments
from rltk_envs.instruct.environment import Instruct, utilities


@pytest.fixture(scope="module")
def world():
    sizes = {"corpus_documents": 30, "heldout_documents": 10, "num_demonstrations": 60}
    sizes |= {"heldout_demonstrations": 20, "num_prompts": 60, "heldout_prompts": 20}
    return Instruct(Instruct.Config(**sizes, careless_share=0.0), seed=0)


def test_is_found_by_its_hook():
    assert rltk_environments() == [Instruct]
    assert Instruct.name == "instruct"


def test_unknown_options_and_sizes_are_refused():
    with pytest.raises(ValidationError):
        Instruct.Config(corpus_docs=3)
    with pytest.raises(ValidationError):
        Instruct.Config(num_prompts=0)


def test_sizes_follow_the_config(world):
    assert len(list(world.corpus("train"))) == 30
    assert len(list(world.corpus("test"))) == 10
    assert len(world.demonstrations("train")) == 60
    assert len(world.demonstrations("validation")) == 20
    assert len(world.prompts("train")) == 60
    assert len(world.prompts("test")) == 20


def test_everything_follows_from_the_seed(world):
    same, other = (Instruct(world.config, seed=seed) for seed in (0, 1))
    assert same.prompts("test") == world.prompts("test") != other.prompts("test")
    assert same.demonstrations("train") == world.demonstrations("train") != other.demonstrations("train")
    assert list(same.corpus("train")) == list(world.corpus("train")) != list(other.corpus("train"))


def test_demonstrations_are_perfect_to_metrics_and_reward(world):
    rows = world.demonstrations("train")
    episodes = [Episode(row["prompt"], row["response"], columns=row) for row in rows]
    assert utilities(episodes) == [1.0] * len(rows)
    for episode in episodes:
        metrics = world.metrics(episode)
        assert metrics["utility"] == metrics["follows_instruction"] == metrics["ends_properly"] == 1.0
        assert metrics["rude"] == 0.0
        assert metrics.get("hallucinates", 0.0) == 0.0
        assert metrics.get("satisfies_constraint", 1.0) == 1.0


def test_prompts_do_not_repeat_while_there_are_others(world):
    prompts = [row["prompt"] for row in world.prompts("train")]
    assert len(set(prompts)) == len(prompts)


def test_templates(world):
    assert world.format_prompt("name two colours .") == "name two colours . \n "
    shown = [{"prompt": "name two colours .", "response": "red , blue", "use_case": "brainstorming"}]
    assert world.few_shot_prefix(shown * 2) == "name two colours . \n red , blue \n \n " * 2


def test_prompt_and_response_survive_the_tokenizer(world):
    tokenizer = world.build_tokenizer()
    for row in world.demonstrations("train"):
        text = world.format_prompt(row["prompt"]) + row["response"]
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) == text


def test_vector_environment_deals_the_split_and_pays_the_utility(world):
    """Slots are stepped along the demonstration of their prompt, so every episode must earn exactly 1."""
    rows = world.demonstrations("validation")[:4]
    tokenizer = world.build_tokenizer()
    envs = world.make_vec(4, prompts=rows, tokenizer=tokenizer, shuffle=False)
    observation, _ = envs.reset(seed=0, options={"first_episode": 0})
    for row, tokens, length in zip(rows, observation["tokens"], observation["length"], strict=True):
        assert tokenizer.decode(tokens[: int(length[0])]) == world.format_prompt(row["prompt"]).strip(" ")
    answers = [[*tokenizer(row["response"]).input_ids, tokenizer.eos_token_id] for row in rows]
    earned = [0.0] * 4
    for step in range(max(map(len, answers))):
        actions = np.array([answer[min(step, len(answer) - 1)] for answer in answers])
        _, rewards, *_ = envs.step(actions)
        earned = [
            total + float(reward) * (step < len(answer))
            for total, reward, answer in zip(earned, rewards, answers, strict=True)
        ]
    assert earned == [1.0] * 4


def test_vector_environment_has_its_own_prompts_and_tokenizer(world):
    envs = world.make_vec(3, split="test")
    observation, _ = envs.reset(seed=0)
    assert len(observation["tokens"]) == 3
