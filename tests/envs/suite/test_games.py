"""What all games of several turns have in common."""

import gymnasium as gym
import numpy as np
import pytest

import rltk_envs  # noqa: F401 - registers the ids
from rltk_envs.suite import rltk_environments
from rltk_envs.suite.games import EXTRA_TURNS, NO_MOVE, Game, Host
from rltk_envs.suite.gym_ids import COMPONENTS as BY_ID

GAMES = [component for component in rltk_environments() if issubclass(component, Game)]
LEVELS = ("easy", "medium", "hard")
SMALL = {"num_prompts": 60, "heldout_prompts": 30, "num_demonstrations": 12, "heldout_demonstrations": 12}

by_name = pytest.mark.parametrize("component", GAMES, ids=lambda component: component.name)


def made(component, **options):
    return component(component.Config(**{**SMALL, **options}), seed=0)


def id_of(component):
    return next(gym_id for gym_id, path in BY_ID.items() if path.endswith(f":{component.__name__}"))


@by_name
@pytest.mark.parametrize("level", LEVELS)
def test_demonstrations_read_what_episodes_show(component, level):
    """Turn by turn, the tokens of a demonstration's prompt are those of the observation."""
    game = made(component, level=level, mistaken_share=0.5)
    tokenizer, rows = game.build_tokenizer(), game.demonstrations("train")
    games = [row for row in rows if not row["turns"]]
    env = gym.make(id_of(component), level=level, prompts=games, shuffle=False)
    over = True
    for number, row in enumerate(rows):
        assert over == (not row["turns"])
        if over:
            observation, _ = env.reset(seed=0 if number == 0 else None)
        read = tokenizer.encode(game.format_prompt(row["prompt"]), add_special_tokens=False)
        assert observation["tokens"][: observation["length"][0]].tolist() == read
        for token in (*tokenizer.encode(row["response"]), tokenizer.eos_token_id):
            observation, reward, over, truncated, info = env.step(token)
        assert not truncated
        if over:
            assert (
                reward
                == game.metrics(info["finished"].episode)["utility"]
                == game.score(row, row["response"])
            )
    assert over


@by_name
def test_a_player_errs_as_often_as_asked_for(component):
    def wrong(share):
        game = made(component, num_demonstrations=150, level="medium", mistaken_share=share)
        rows = game.demonstrations("train")
        return np.mean([row["response"] != game.oracle(row, row["turns"]) for row in rows])

    assert wrong(0.0) == 0.0 and 0.15 < wrong(0.3) <= 0.35 and wrong(1.0) > 0.7


@by_name
@pytest.mark.parametrize("level", LEVELS)
def test_games_fit_into_what_is_declared_of_them(component, level):
    game = made(component, level=level, mistaken_share=0.9)
    tokenizer = game.build_tokenizer()
    move, answer = game.lengths(level)
    assert game.max_turns == game.needed[level] + EXTRA_TURNS
    assert game.max_new_tokens == game.max_turns * (move + 1)
    for row in game.demonstrations("train"):
        assert 1 <= row["needed"] <= game.needed[level] and len(row["turns"]) < row["needed"] + EXTRA_TURNS
        assert len(tokenizer.encode(row["response"])) <= move
        assert all(len(tokenizer.encode(answered)) <= answer + 1 for _, answered in row["turns"])
        host = Host(game, row)
        assert [host.reply(said) for said, _ in row["turns"]] == [answered for _, answered in row["turns"]]


@by_name
def test_a_prompt_comes_with_all_its_secrets_and_tells_none(component):
    game = made(component)
    rows = game.prompts("train")
    assert len(rows) == 60
    for row in rows:
        alike = [other["secret"] for other in rows if other["prompt"] == row["prompt"]]
        assert row["prompt"] == rows[-1]["prompt"] or alike == game.secrets(row)
        assert Host(game, row).reply("") == f"{NO_MOVE} :"


@by_name
@pytest.mark.parametrize("level", LEVELS)
def test_the_oracle_finds_every_secret_in_the_turns_it_takes(component, level):
    game = made(component, level=level, num_prompts=400)
    for row in game.prompts("train"):
        host, turns = Host(game, row), []
        while not turns or turns[-1][1]:
            said = game.oracle({**row, "secret": "unknown"}, turns)
            turns.append((said, host.reply(said) or ""))
        assert turns[-1][0] == row["secret"] and len(turns) <= row["needed"]


@by_name
def test_the_oracle_goes_on_from_whatever_was_said(component):
    game = made(component, level="hard", mistaken_share=0.7)
    for row in game.demonstrations("train"):
        turns = list(map(tuple, row["turns"]))
        for _ in range(row["needed"]):
            said = game.oracle(row, turns)
            if said == row["secret"]:
                break
            turns.append((said, f"{game.answer(row, turns, said)} :"))
        assert said == row["secret"]


@by_name
def test_the_corpus_is_whole_games(component):
    game = made(component, mistaken_share=0.2)
    lines = list(game.corpus("train"))
    assert len(lines) == 12 and len(set(lines)) == 12
    last = [game._line(row) for row in game.demonstrations("train")]
    assert set(lines) <= set(last)
