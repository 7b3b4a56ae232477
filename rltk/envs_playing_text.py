"""Playing with text: the person writes what the policy would write, a line a turn."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from rltk.action_masks import ActionMasks
from rltk.envs_playing import ask, report_mistake, shown
from rltk.episode import Episode
from rltk.errors import UserError
from rltk.interfaces import Environment, Split

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv
    from transformers import PreTrainedTokenizerBase

#: Words of the vocabulary that are shown to whoever typed one that is not among them.
_WORDS = 60


def play_text(environment: Environment, *, split: Split, seed: int) -> None:
    """Deal prompts, read the person's turns, and show the reward and what the oracle says."""
    tokenizer = environment.build_tokenizer()
    envs = environment.make_vec(1, split=split, tokenizer=tokenizer)
    for number in count():
        print()
        _play_episode(environment, envs, tokenizer, number, seed)


def _play_episode(
    environment: Environment,
    envs: VectorEnv,
    tokenizer: PreTrainedTokenizerBase,
    number: int,
    seed: int,
) -> None:
    observations, infos = envs.reset(seed=seed, options={"first_episode": number, "episodes": 1})
    masks = ActionMasks(envs, infos)
    read = 0
    while True:
        tokens = observations["tokens"][0, : observations["length"][0, 0]]
        if len(tokens) > read:
            print(tokenizer.decode(tokens[read:], skip_special_tokens=True))
        read = len(tokens)
        for token in _turn(tokenizer):
            allowed = masks.read(infos, np.ones(1, dtype=bool))
            if allowed is not None and not allowed[0, token]:
                report_mistake(_not_allowed(tokenizer, token, allowed[0]))
                break
            read += 1
            observations, rewards, terminated, truncated, infos = envs.step(np.array([token]))
            if terminated[0] or truncated[0]:
                record = infos["final_info"]["finished"][0]
                _report(environment, record.episode, float(rewards[0]))
                return


def _turn(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the tokens of a line that the person types, EOS at its end."""
    while True:
        line = ask("> ")
        tokens = tokenizer.encode(line, add_special_tokens=False)
        unknown = tokenizer.unk_token_id
        if unknown is None or unknown not in tokens:
            return [*tokens, int(tokenizer.eos_token_id)]
        report_mistake(f"it holds words that are not in the vocabulary: {_vocabulary(tokenizer)}")


def _vocabulary(tokenizer: PreTrainedTokenizerBase) -> str:
    special = set(tokenizer.all_special_ids)
    words = [tokenizer.decode([token]) for token in range(len(tokenizer)) if token not in special]
    return " ".join(words[:_WORDS]) + (" ..." if len(words) > _WORDS else "")


def _not_allowed(tokenizer: PreTrainedTokenizerBase, token: int, allowed: Any) -> str:
    words = [_word(tokenizer, int(index)) for index in np.flatnonzero(allowed)]
    return f"{_word(tokenizer, token)} is not allowed here; go on with one of: {' '.join(words)}"


def _word(tokenizer: PreTrainedTokenizerBase, token: int) -> str:
    return "(the end)" if token == tokenizer.eos_token_id else str(tokenizer.decode([token]))


def _report(environment: Environment, episode: Episode, reward: float) -> None:
    ended = "" if episode.terminated else "cut off; "
    print(f"{ended}reward {reward:.3g}" + "".join(f"; {line}" for line in _measures(environment, episode)))
    row = {**episode.columns, "prompt": episode.prompt}
    turns = episode.turns or ((episode.response, ""),)
    try:
        said = [environment.oracle(row, turns[:turn]) for turn in range(len(turns))]
    except UserError:
        return
    for text in said:
        print(f"oracle: {text}")


def _measures(environment: Environment, episode: Episode) -> list[str]:
    metrics = environment.metrics(episode)
    return [shown(metrics)] if metrics else []
