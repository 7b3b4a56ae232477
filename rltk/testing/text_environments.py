"""The contract of text environments, as checks: the options that stages pass, and what an episode is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rltk.episode import Episode
from rltk.errors import UserError
from rltk.interfaces import Row, Split
from rltk.testing.acting import SLOTS, TokenPolicy, World, always, random_tokens, respond
from rltk.testing.guards import difference
from rltk.testing.running import require

_PASS_ON = 'pass **options of make_vec() on to "rltk/TextGeneration-v0"'
_SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def defers_scoring(world: World) -> None:
    """It lets a rollout's responses be scored at once, and says which token pads."""
    envs = world.vec().unwrapped
    names = [name for name in ("defer_scoring", "score_deferred", "pad_id") if not hasattr(envs, name)]
    fix = 'wrap gym.make_vec("rltk/TextGeneration-v0", ...), or give it what that has'
    require(not names, f"the environment has no {' and no '.join(names)}", fix=fix)


def ends_with_eos(world: World) -> None:
    """EOS ends a response, which is then empty of it; where somebody answers, it ends a turn."""
    [episode] = _respond(world, always(_eos(world)), episodes=1)
    ended = episode.terminated and not episode.truncated and episode.response_tokens == (_eos(world),)
    ended |= bool(episode.turns) and episode.response_tokens[0] == _eos(world)
    problem = f"a response of EOS alone ended as {episode}"
    require(ended, problem, fix="terminate at EOS, and keep its id in response_tokens")
    fix, said = "decode with skip_special_tokens=True", _first_turn(episode)
    require(said == "", f"a response of EOS alone reads {said!r}", fix=fix)


def cuts_off_at_the_budget(world: World) -> None:
    """A response is cut off after max_new_tokens tokens."""
    [episode] = _respond(world, always(_word(world)), episodes=1, max_new_tokens=2)
    length = episode.num_actions
    problem = f"with max_new_tokens=2 a response of {length} tokens ended as {_ending(episode)}"
    require(length == 2 and episode.truncated and not episode.terminated, problem, fix=_PASS_ON)


def stops_at_stop_texts(world: World) -> None:
    """A stop text ends a response and is cut from it."""
    word = world.tokenizer.decode([_word(world)]).strip()
    [episode] = _respond(world, always(_word(world)), episodes=1, stop=(word,))
    said = _first_turn(episode)
    problem = f"with stop=({word!r},) a response ended as {_ending(episode)}: {said!r}"
    ended = episode.terminated or len(episode.turns) > 1
    require(ended and word not in said, problem, fix=_PASS_ON)


def deals_the_prompts_it_is_given(world: World) -> None:
    """make_vec(prompts=rows, shuffle=False) deals these rows in this order, with their columns."""
    rows = [{**row, "rltk_check": index} for index, row in enumerate(world.rows[::-1])]
    for row, episode in zip(rows, _deal(world, rows), strict=True):
        problem = f"it dealt {episode.prompt!r} where it should deal {row['prompt']!r}"
        require(episode.prompt == row["prompt"], problem, fix=_PASS_ON)
        lost = sorted(key for key in row if key != "prompt" and episode.columns.get(key) != row[key])
        problem = f"Episode.columns lacks {', '.join(lost)} of the row"
        require(not lost, problem, fix="keep all columns of a row but prompt and prefix")


def reads_prompts_as_format_prompt_writes_them(world: World) -> None:
    """What the policy reads of a prompt is format_prompt() of it, after the row's column prefix."""
    prefix = world.tokenizer.decode([_word(world)]) + " "
    for given in ({}, {"prefix": prefix}):
        rows = [{**row, **given} for row in world.rows]
        for row, episode in zip(rows, _deal(world, rows), strict=True):
            text = row.get("prefix", "") + world.environment.format_prompt(row["prompt"])
            ids = tuple(world.tokenizer.encode(text, add_special_tokens=False))
            read = world.tokenizer.decode(episode.prompt_tokens)
            fix = "use one template for make_vec() and format_prompt(); put the column prefix before it"
            problem = f"the policy reads {read!r} where prefix and format_prompt() say {text!r}"
            require(episode.prompt_tokens == ids, problem, fix=fix)


def deals_groups(world: World) -> None:
    """make_vec(group_size=3) deals a prompt three times in a row."""
    if not world.rows:
        return
    episodes = _respond(world, random_tokens(world.tokenizer), episodes=6, group_size=3)
    prompts = [episode.prompt_tokens for episode in episodes]
    grouped = len(set(prompts[:3])) == len(set(prompts[3:])) == 1
    require(grouped, f"the prompts were {[e.prompt for e in episodes]}", fix=_PASS_ON)


def deals_the_prompts_of_the_split(world: World) -> None:
    """make_vec(split=...) deals the prompts of that split."""
    for split in _SPLITS:
        try:
            known = {row["prompt"] for row in world.environment.prompts(split)}
        except UserError:
            continue
        dealt = {e.prompt for e in _respond(world, random_tokens(world.tokenizer), episodes=9, split=split)}
        problem = (
            f"make_vec(split={split!r}) dealt {sorted(dealt - known)[:1]}, which prompts({split!r}) lacks"
        )
        require(dealt <= known, problem, fix="deal self.prompts(split)")


def pays_the_reward_it_is_given(world: World) -> None:
    """make_vec(reward=...) pays that reward, and none where it is None."""
    paid = _scores(world, lambda episodes: [float(len(episode.response)) for episode in episodes])
    for episode, score in paid:
        problem = f"a reward of {float(len(episode.response))} was paid as {score}"
        require(score == len(episode.response), problem, fix=_PASS_ON)
    unpaid = [score for _, score in _scores(world, None)]
    fix = "keep an explicit reward=None: the stage scores by itself"
    require(not any(unpaid), f"with reward=None it paid {unpaid}", fix=fix)


def pays_finite_rewards(world: World) -> None:
    """Its own reward is finite, or None for what cannot be scored."""
    _, scores = respond(world.vec(), random_tokens(world.tokenizer), episodes=8)
    fix = "return finite rewards"
    require(not any(math.isinf(score) for score in scores), f"the scores are {scores}", fix=fix)


def ignores_the_number_of_slots(world: World) -> None:
    """An episode is the same in any number of slots."""
    reference = _respond(world, random_tokens(world.tokenizer), episodes=9, slots=1)
    for slots in (2, 5, 9):
        episodes = _respond(world, random_tokens(world.tokenizer), episodes=9, slots=slots)
        _require_same(reference, episodes, "with one slot", f"with {slots}")


def goes_on_from_any_episode(world: World) -> None:
    """Collecting can go on from any episode, as an interrupted run does."""
    envs, policy = world.vec(), random_tokens(world.tokenizer)
    whole, _ = respond(envs, policy, episodes=9)
    rest, _ = respond(world.vec(), policy, episodes=4, first_episode=5)
    _require_same(whole[5:], rest, "in one go", 'when reset(options={"first_episode": 5}) came before')


TEXT_CHECKS = (
    defers_scoring,
    deals_the_prompts_it_is_given,
    reads_prompts_as_format_prompt_writes_them,
    deals_groups,
    deals_the_prompts_of_the_split,
    pays_the_reward_it_is_given,
    pays_finite_rewards,
    ignores_the_number_of_slots,
    goes_on_from_any_episode,
)
#: Not asked of those that restrict tokens: they say words that nobody may have allowed.
FREE_TEXT_CHECKS = (
    ends_with_eos,
    cuts_off_at_the_budget,
    stops_at_stop_texts,
)


def _eos(world: World) -> int:
    return int(world.tokenizer.eos_token_id)


def _word(world: World) -> int:
    """Return the first token that is a word, or a piece of one, by itself."""
    special = set(world.tokenizer.all_special_ids)
    ordinary = (index for index in range(len(world.tokenizer)) if index not in special)
    return next(index for index in ordinary if world.tokenizer.decode([index]).strip().isalnum())


def _respond(
    world: World, policy: TokenPolicy, *, episodes: int, slots: int = SLOTS, **options: Any
) -> list[Episode]:
    return respond(world.vec(slots, **options), policy, episodes=episodes)[0]


def _deal(world: World, rows: Sequence[Row]) -> list[Episode]:
    """Return one episode a row, the rows dealt in their order."""
    if not rows:
        return []
    return _respond(world, always(_eos(world)), episodes=len(rows), prompts=list(rows), shuffle=False)


def _scores(world: World, reward: Any) -> list[tuple[Episode, float]]:
    envs = world.vec(reward=reward)
    return list(zip(*respond(envs, random_tokens(world.tokenizer), episodes=6), strict=True))


def _first_turn(episode: Episode) -> str:
    """Return what the policy said before anybody answered."""
    return episode.turns[0][0] if episode.turns else episode.response


def _ending(episode: Episode) -> str:
    return "terminated" if episode.terminated else "cut off"


def _require_same(first: list[Episode], second: list[Episode], when: str, other: str) -> None:
    fix = "let an episode depend on the seed, its number and its actions alone"
    for index, (a, b) in enumerate(zip(first, second, strict=True)):
        where = difference(a, b)
        fields = (where or "").split("[")[0].lstrip(".") or "type"
        one, another = (getattr(episode, fields, episode) for episode in (a, b))
        require(
            where is None, f"{fields} of episode {index} is {one!r} {when} and {another!r} {other}", fix=fix
        )
