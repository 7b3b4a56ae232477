"""Games of several turns: the policy looks for a secret, and a host answers what it says.

A game is a task of the suite in which :meth:`Game.draw` hides a secret that the prompt does not tell,
:meth:`Game.answer` is what the host says about a turn, and ``oracle`` plays as well as can be without knowing
the secret. A turn is answered until the secret is said or the turns are used up.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from rltk.interfaces import Row, Split
from rltk_envs.suite.base import Level, SuiteEnvironment

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from rltk.episode import Episode

#: What was said and answered in each turn so far.
Turns = Sequence[tuple[str, str]]
#: Turns beyond those that a perfect player needs, after which the host goes home.
EXTRA_TURNS = 3
#: What the host says to what is no move of the game.
NO_MOVE = "?"
#: What each turn too many leaves of the score.
_LATE = 0.5
#: Stands after every answer, as after the prompt: the policy is to speak.
_YOUR_TURN = " :"


class Game(SuiteEnvironment):
    """Find a secret by asking.

    The secret said in as few turns as a perfect player needs at worst is worth 1, each turn more halves that,
    and after three more the game is lost. A row is a prompt with a ``secret`` and ``needed``, the turns of a
    perfect player. Each prompt comes with all secrets that it can have, so that none can be learnt by heart.
    """

    class Config(SuiteEnvironment.Config):
        """How hard it is, and how much of everything there is."""

        num_prompts: int = Field(2000, gt=0, description="Most games of the train split.")
        heldout_prompts: int = Field(
            200, gt=0, description="Most games of the validation and of the test split."
        )
        num_demonstrations: int = Field(
            1000, gt=0, description="Most games demonstrated; every turn is a demonstration."
        )
        heldout_demonstrations: int = Field(
            100, gt=0, description="Most games demonstrated for validation and for test."
        )
        mistaken_share: float = Field(
            0.0,
            ge=0,
            le=1,
            description="Share of demonstrated turns in which the player says any one of the moves.",
        )

    config: Config
    #: Most turns that a perfect player needs, by level.
    needed: ClassVar[Mapping[Level, int]]

    def __init__(self, config: Any, *, seed: int) -> None:
        super().__init__(config, seed=seed)
        self.max_turns = self.needed[config.level] + EXTRA_TURNS

    @abstractmethod
    def secrets(self, row: Row) -> list[str]:
        """Return what may be the secret, as far as the prompt tells."""

    @abstractmethod
    def answer(self, row: Row, turns: Turns, said: str) -> str:
        """Return what the host says to a turn that is not the secret; ``NO_MOVE`` if it is no move."""

    @abstractmethod
    def any_move(self, row: Row, rng: Random) -> str:
        """Return a random move, whatever was said before."""

    def lengths(self, level: Level) -> tuple[int, int]:
        """Return how many tokens a move and an answer have at most."""
        return 1, 1

    def reply(self, row: Row, turns: Turns, said: str) -> str | None:
        """Return what there is to read after a turn; None where the game is over."""
        if said == row["secret"] or len(turns) + 1 == row["needed"] + EXTRA_TURNS:
            return None
        return self.answer(row, turns, said) + _YOUR_TURN

    def longest(self, level: Level) -> int:
        """Return the number of tokens of all turns, without the last EOS."""
        return (self.needed[level] + EXTRA_TURNS) * (self.lengths(level)[0] + 1) - 1

    def score(self, row: Row, response: str) -> float:
        """Return what a game is worth whose last turn is ``response``, after the row's ``turns``."""
        return _worth(row, [*(said for said, _ in row.get("turns", ())), response])

    def gold(self, episode: Episode) -> float:
        """Return what a game is worth."""
        row = {**episode.columns, "prompt": episode.prompt}
        if not episode.turns:
            return self.score(row, episode.response)
        return _worth(row, [said for said, _ in episode.turns])

    def metrics(self, episode: Episode) -> dict[str, float]:
        """Return ``utility``, ``exact``, whether the secret was ``found``, and the number of ``turns``."""
        gold = self.gold(episode)
        return {**super().metrics(episode), "found": float(gold > 0), "turns": float(len(episode.turns) or 1)}

    def task_options(self, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        """Return who answers, how often, and how much."""
        answer = self.lengths(self.config.level)[1] + len(_YOUR_TURN.split())
        return {
            "partner": lambda row: Host(self, row),
            "max_turns": self.max_turns,
            "max_reply_tokens": answer,
        }

    def prompts(self, split: Split) -> list[Row]:
        """Return rows with ``prompt`` and ``secret``; the games of a prompt stand side by side."""
        drawn = super().prompts(split)
        once = {row["prompt"]: row for row in drawn}.values()
        games = [{**row, "secret": secret} for row in once for secret in self.secrets(row)]
        return games[: len(drawn)]

    def demonstrations(self, split: Split) -> list[Row]:
        """Return a row for each turn of each game; its prompt is the game so far, its ``turns`` too."""
        return [row for game in self._games(split) for row in game]

    def corpus(self, split: Split) -> Iterator[str]:
        """Yield the demonstrated games, each as one line."""
        return (self._line(game[-1]) for game in self._games(split))

    def identity(self, row: Row) -> str:
        """Return the prompt and the secret."""
        return f"{row['prompt']} {row['secret']}"

    def _games(self, split: Split) -> Iterator[list[Row]]:
        config = self.config
        count = config.num_demonstrations if split == "train" else config.heldout_demonstrations
        rng = self._random("mistakes", split)
        return (self._play(row, rng) for row in self.rows("demonstrations", split, count))

    def _play(self, row: Row, rng: Random) -> list[Row]:
        from rltk_envs.suite.tokenizer import EOS  # loads what a list of environments does not wait for

        turns: list[tuple[str, str]] = []
        heard, rows = row["prompt"], list[Row]()
        while True:
            mistaken = rng.random() < self.config.mistaken_share
            said = self.any_move(row, rng) if mistaken else self.oracle(row, turns)
            rows.append({**row, "prompt": heard, "turns": [list(turn) for turn in turns], "response": said})
            reply = self.reply(row, turns, said)
            if reply is None:
                return rows
            turns.append((said, reply))
            heard = f"{heard}{_YOUR_TURN} {said} {EOS} {reply}".removesuffix(_YOUR_TURN)


class Host:
    """Knows the secret of one game and answers."""

    def __init__(self, game: Game, row: Row) -> None:
        self._game, self._row = game, row
        self._turns: list[tuple[str, str]] = []

    def reply(self, turn: str) -> str | None:
        """Return the answer to a turn; None where the game is over."""
        reply = self._game.reply(self._row, self._turns, turn)
        self._turns.append((turn, reply or ""))
        return reply


def answers(turns: Turns) -> list[tuple[str, str]]:
    """Return what was said and what the host said to it, without the sign that it is the policy's turn."""
    return [(said, answered.removesuffix(_YOUR_TURN)) for said, answered in turns]


def _worth(row: Row, said: Sequence[str]) -> float:
    """Return 1, less by half for each turn too many; nothing where the secret was not said in time."""
    if row["secret"] not in said:
        return 0.0
    late = said.index(row["secret"]) + 1 - row["needed"]
    return float(_LATE ** max(late, 0)) if late <= EXTRA_TURNS else 0.0
