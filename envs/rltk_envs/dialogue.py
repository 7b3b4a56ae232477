"""The dialogue world: a clerk takes a customer's orders, turn by turn, and answers a question about them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from pydantic import Field

from rltk.episode import Episode
from rltk.hookspecs import hookimpl
from rltk.interfaces import ComponentConfig, Environment, Row, Split
from rltk.rng import derive_seed
from rltk_envs.dialogue_customer import Customer, listen

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv
    from transformers import PreTrainedTokenizerBase

    from rltk_envs.text_generation_single import TextGenerationEnv

TEMPLATE = "customer : {prompt} clerk :"


class Dialogue(Environment):
    """A customer orders two or three things, one a turn, and asks a question at the end.

    The clerk, who is the policy, says every order back and then answers: how much it was of one thing or in
    all, or who the customer is. The utility is the share of this that was right. An order got wrong is
    repeated once and then counts half; after a second mistake the customer leaves.
    """

    name = "dialogue"
    max_turns = 7
    config: Config

    class Config(ComponentConfig):
        """How much of everything there is."""

        num_prompts: int = Field(1000, gt=0, description="dialogues of the train split")
        heldout_prompts: int = Field(
            200, gt=0, description="dialogues of the validation and of the test split"
        )
        num_demonstrations: int = Field(
            600, gt=0, description="demonstrated dialogues; every turn of the clerk is a demonstration"
        )
        careless_share: float = Field(
            0.4, ge=0, le=1, description="share of demonstrated turns in which the clerk gets a word wrong"
        )
        max_new_tokens: int = Field(28, gt=0, description="tokens after which the clerk is cut off")

    @classmethod
    def check_options(cls, directory: Path) -> dict[str, Any]:
        """Return a world that is made in no time."""
        return {"num_prompts": 40, "heldout_prompts": 20, "num_demonstrations": 20}

    def make_vec(self, num_envs: int, *, split: Split = "train", **options: Any) -> VectorEnv:
        """Return ``rltk/TextGeneration-v0`` with a customer to talk to; the default reward is the utility."""
        from rltk_envs.text_generation import TextGenerationVectorEnv

        return TextGenerationVectorEnv(num_envs, **self.text_options(split, **options))

    def text_options(self, split: Split, **options: Any) -> dict[str, Any]:
        """Return the options of ``rltk/TextGeneration-v0`` that make it this world's, ``options`` first."""
        if options.get("prompts") is None:
            options["prompts"] = self.prompts(split)
        if options.get("tokenizer") is None:
            options["tokenizer"] = self.build_tokenizer()
        talk = {"partner": Customer, "max_turns": self.max_turns, "max_reply_tokens": 13}
        given = {"template": TEMPLATE, "reward": utilities, "max_new_tokens": self.config.max_new_tokens}
        return {**talk, **given, **options}

    def build_tokenizer(self) -> PreTrainedTokenizerBase:
        """Return the word-level tokenizer."""
        from rltk_envs.dialogue_rows import build_tokenizer

        return build_tokenizer()

    def format_prompt(self, prompt: str) -> str:
        """Return the customer's line, with the clerk to speak next."""
        return TEMPLATE.format(prompt=prompt)

    def few_shot_prefix(self, demonstrations: Sequence[Row]) -> str:
        """Return the demonstrations, each ended by EOS."""
        texts = (f"{self.format_prompt(row['prompt'])} {row['response']} <eos> " for row in demonstrations)
        return "".join(texts)

    def prompts(self, split: Split) -> list[Row]:
        """Return what customers say first, with the ``orders``, the ``question`` and the ``answer``."""
        count = self.config.num_prompts if split == "train" else self.config.heldout_prompts
        return self._dialogues("prompts", split, count)

    def demonstrations(self, split: Split) -> list[Row]:
        """Return a row for each turn of a clerk, who errs at times; its prompt is the dialogue so far."""
        from rltk_envs.dialogue_rows import demonstrate

        dialogues = self._dialogues("demonstrations", split, self.config.num_demonstrations)
        rng, share = self._random("clerk", split), self.config.careless_share
        return [turn for dialogue in dialogues for turn in demonstrate(dialogue, rng, careless_share=share)]

    def metrics(self, episode: Episode) -> dict[str, float]:
        """Return ``utility``, the share of orders taken, and whether the question was answered rightly."""
        customer = _after(episode)
        return {
            "utility": customer.utility,
            "orders_taken": customer.orders_taken,
            "answered": float(customer.answered),
        }

    def oracle(self, row: Row, turns: Sequence[tuple[str, str]] = ()) -> str:
        """Return what the customer wants to hear next."""
        return listen(row, (said for said, _ in turns)).expected

    def score_bounds(self) -> tuple[float, float]:
        """Return the utilities of random words, which are never an order, and of a perfect clerk."""
        return 0.0, 1.0

    def _dialogues(self, what: str, split: Split, count: int) -> list[Row]:
        from rltk_envs.dialogue_rows import draw_dialogue

        rng = self._random(what, split)
        return [draw_dialogue(rng, split) for _ in range(count)]

    def _random(self, *parts: str) -> Random:
        return Random(derive_seed(self.seed, "dialogue", *parts))


def utilities(episodes: Sequence[Episode]) -> list[float]:
    """Return the utility of each dialogue of this world."""
    return [_after(episode).utility for episode in episodes]


def make_dialogue(*, split: Split = "train", world_seed: int = 0, **options: Any) -> TextGenerationEnv:
    """Return ``rltk/Dialogue-v0``: one dialogue at a time, paid by its utility.

    :param split: whose prompts.
    :param world_seed: which dialogues are drawn.
    :param options: those of :class:`~rltk_envs.text_generation.TextGenerationVectorEnv`.
    """
    from rltk_envs.text_generation_single import TextGenerationEnv

    return TextGenerationEnv(**_world(world_seed).text_options(split, **options))


def make_dialogue_vec(
    num_envs: int, *, split: Split = "train", world_seed: int = 0, **options: Any
) -> VectorEnv:
    """Return the vector environment; see :func:`make_dialogue`."""
    return _world(world_seed).make_vec(num_envs, split=split, **options)


def _world(seed: int) -> Dialogue:
    return Dialogue(Dialogue.Config.model_validate({}), seed=seed)


def _after(episode: Episode) -> Customer:
    """Return the customer at the end of an episode; a demonstration's former turns are in its row."""
    row = episode.columns
    said = [said for said, _ in episode.turns] or [
        *(said for said, _ in row.get("turns", ())),
        episode.response,
    ]
    return listen(dict(row), said)


@hookimpl
def rltk_environments() -> list[type[Environment]]:
    """Provide ``dialogue``."""
    return [Dialogue]
