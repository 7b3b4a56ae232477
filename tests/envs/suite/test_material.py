"""Prompts, demonstrations and the token environment of the suite."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import rltk_envs  # noqa: F401 - registers the ids
from rltk.episode import Episode
from rltk.errors import UserError
from rltk.testing import check_environment
from rltk.testing.acting import random_tokens, respond
from rltk_envs.instruct.tasks import split_of
from rltk_envs.suite import rltk_environments
from rltk_envs.suite.arithmetic import Arithmetic
from rltk_envs.suite.brackets import Brackets, may_follow
from rltk_envs.suite.games import Game
from rltk_envs.suite.gym_ids import COMPONENTS as BY_ID
from rltk_envs.suite.sorting import Sort

COMPONENTS = rltk_environments()
ONE_TURN = [component for component in COMPONENTS if not issubclass(component, Game)]
SPLITS = ("train", "validation", "test")
SMALL = {"num_prompts": 60, "heldout_prompts": 30, "num_demonstrations": 60, "heldout_demonstrations": 30}


def made(component, seed=0, **options):
    return component(component.Config(**{**SMALL, **options}), seed=seed)


by_name = pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: component.name)


@by_name
def test_they_keep_the_contract_of_environments(component):
    check_environment(component)


@pytest.mark.parametrize("gym_id", BY_ID)
def test_they_pass_gymnasiums_checker_by_their_ids(gym_id):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make(gym_id, level="medium", heldout_prompts=20, split="test").unwrapped)


def test_every_component_has_an_id():
    found = [gym.envs.registration.load_env_creator(path) for path in BY_ID.values()]
    assert found == COMPONENTS
    names = [component.name.replace("_", "") for component in COMPONENTS]
    assert [gym_id.split("/")[1].split("-")[0].lower() for gym_id in BY_ID] == names


def test_ids_take_the_options_of_the_component_and_of_the_text_environment():
    envs = gym.make_vec("rltk/Sort-v0", 3, level="hard", split="test", heldout_prompts=7, group_size=2)
    assert envs.num_envs == 3 and len(envs.prompts) == 7 and envs.group_size == 2
    assert envs.prompts[0].text == Sort(Sort.Config(level="hard"), seed=0).prompts("test")[0]["prompt"]
    other = gym.make("rltk/Sort-v0", level="hard", split="test", heldout_prompts=7, world_seed=1)
    assert other.unwrapped.action_space == envs.single_action_space


@by_name
def test_splits_are_apart_and_prompts_are_never_repeated(component):
    environment = made(component)
    for split in SPLITS:
        rows = environment.prompts(split)
        assert len({environment.identity(row) for row in rows}) == len(rows)
        assert {split_of(row["prompt"]) for row in rows} == {split}
        demonstrated = {row["prompt"] for row in environment.demonstrations(split) if not row.get("turns")}
        assert {split_of(text) for text in demonstrated} == {split}


def test_a_small_space_of_prompts_gives_all_it_has():
    """Of the 200 prompts of the easy level, each is in one split; the sizes are those of the hash."""
    environment = made(Arithmetic, num_prompts=5000, heldout_prompts=5000)
    everything = {f"{a}{operation}{b}" for a in range(10) for b in range(10) for operation in "+-"}
    prompts = {split: {row["prompt"] for row in environment.prompts(split)} for split in SPLITS}
    assert prompts["train"] | prompts["validation"] | prompts["test"] == everything
    assert {split: len(found) for split, found in prompts.items()} == {
        split: sum(split_of(prompt) == split for prompt in everything) for split in SPLITS
    }


@by_name
def test_the_seed_decides_which_prompts_and_nothing_else_does(component):
    assert made(component).prompts("train") == made(component).prompts("train")
    assert made(component).prompts("train") != made(component, seed=1).prompts("train")
    assert made(component).prompts("test") == made(component, num_prompts=3).prompts("test")


@pytest.mark.parametrize("component", ONE_TURN, ids=lambda component: component.name)
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_demonstrations_are_as_often_mistaken_as_asked_for(component, share):
    environment = made(component, num_demonstrations=300, level="medium", mistaken_share=share)
    rows = environment.demonstrations("train")
    wrong = [environment.score(row, row["response"]) < 1.0 for row in rows]
    assert len(rows) == 300 and np.mean(wrong) == pytest.approx(share, abs=0.08)
    assert all(row["response"] for row in rows)


@by_name
def test_the_tokenizer_writes_what_it_reads_in_one_token_a_word(component):
    environment = made(component, level="hard")
    tokenizer = environment.build_tokenizer()
    assert 12 <= len(tokenizer) <= 200 and tokenizer.pad_token_id != tokenizer.eos_token_id
    for row in environment.demonstrations("train")[:20]:
        text = environment.format_prompt(row["prompt"]) + environment.space + row["response"]
        tokens = tokenizer.encode(text)
        assert tokenizer.decode(tokens) == text and tokenizer.unk_token_id not in tokens
        assert len(tokens) == len(environment.split_words(text))
        assert any(line.startswith(text) for line in environment.corpus("train"))


@by_name
def test_prompt_and_response_are_read_as_the_text_they_stand_in(component):
    """What is learnt from documents and from demonstrations is the same sequence of tokens."""
    environment = made(component)
    tokenizer = environment.build_tokenizer()
    shown = environment.demonstrations("train")[:3]
    line = tokenizer.encode(environment._line(shown[0]))
    parts = (environment.format_prompt(shown[0]["prompt"]), shown[0]["response"])
    assert line == [token for part in parts for token in tokenizer.encode(part)]
    prefix = environment.few_shot_prefix(shown)
    assert all(environment._line(row) in prefix for row in shown)
    assert tokenizer.encode(prefix).count(tokenizer.convert_tokens_to_ids(";")) == 3


@by_name
def test_metrics_are_the_reward_and_episodes_the_same_in_any_number_of_slots(component):
    environment = made(component, heldout_prompts=8)
    tokenizer = environment.build_tokenizer()
    alone, paid = respond(environment.make_vec(1, split="test"), random_tokens(tokenizer), episodes=24)
    several, paid_too = respond(environment.make_vec(5, split="test"), random_tokens(tokenizer), episodes=24)
    assert alone == several and paid == paid_too
    for episode, score in zip(alone, paid, strict=True):
        metrics = environment.metrics(episode)
        assert metrics["utility"] == pytest.approx(score)
        assert metrics["exact"] == float(metrics["utility"] == 1.0)


def test_a_right_response_is_exact():
    environment = made(Sort)
    [row] = environment.prompts("test")[:1]
    right = Episode(row["prompt"], environment.oracle(row), columns=row)
    assert environment.metrics(right) == {"utility": 1.0, "exact": 1.0}
    assert environment.metrics(Episode(row["prompt"], "", columns=row)) == {"utility": 0.0, "exact": 0.0}


def test_masked_brackets_allow_what_can_become_right_and_nothing_else():
    environment = made(Brackets, masked=True, level="medium")
    assert environment.score_bounds() is None
    tokenizer = environment.build_tokenizer()
    [row] = environment.prompts("test")[:1]
    env = gym.make("rltk/Brackets-v0", masked=True, level="medium", prompts=[row])
    _, info = env.reset(seed=0)
    said = []
    for _ in range(row["count"]):
        allowed = {
            tokenizer.convert_ids_to_tokens(int(token)) for token in np.flatnonzero(info["action_mask"])
        }
        assert allowed == may_follow(row, said)
        said.append(min(allowed))
        _, reward, terminated, _, info = env.step(tokenizer.convert_tokens_to_ids(said[-1]))
    assert np.flatnonzero(info["action_mask"]).tolist() == [tokenizer.eos_token_id]
    _, reward, terminated, _, info = env.step(tokenizer.eos_token_id)
    assert terminated and reward == 1.0


def test_a_wrong_level_is_refused_in_one_line():
    from rltk.registry import create

    with pytest.raises(UserError, match="level"):
        create("environment", "sort", level="hrad", seed=0)
