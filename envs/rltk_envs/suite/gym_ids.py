"""The suite behind Gymnasium ids: ``gymnasium.make("rltk/Sort-v0", level="hard")``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gymnasium.envs.registration import load_env_creator, register

from rltk.interfaces import Split

if TYPE_CHECKING:
    from rltk_envs.suite.base import SuiteEnvironment
    from rltk_envs.text_generation import TextGenerationVectorEnv
    from rltk_envs.text_generation_single import TextGenerationEnv

#: Where the component behind each id is.
COMPONENTS = {
    "rltk/Arithmetic-v0": "rltk_envs.suite.arithmetic:Arithmetic",
    "rltk/Brackets-v0": "rltk_envs.suite.brackets:Brackets",
    "rltk/Copy-v0": "rltk_envs.suite.copying:Copy",
    "rltk/Countdown-v0": "rltk_envs.suite.countdown:Countdown",
    "rltk/GuessNumber-v0": "rltk_envs.suite.guess_number:GuessNumber",
    "rltk/Questions-v0": "rltk_envs.suite.questions:Questions",
    "rltk/Reverse-v0": "rltk_envs.suite.reversing:Reverse",
    "rltk/Sentiment-v0": "rltk_envs.suite.sentiment:Sentiment",
    "rltk/Sort-v0": "rltk_envs.suite.sorting:Sort",
    "rltk/Summarise-v0": "rltk_envs.suite.summarise:Summarise",
    "rltk/TwentyQuestions-v0": "rltk_envs.suite.twenty_questions:TwentyQuestions",
    "rltk/WordGuess-v0": "rltk_envs.suite.word_guess:WordGuess",
}


def register_suite() -> None:
    """Register an id for every environment of the suite."""
    for gym_id, component in COMPONENTS.items():
        register(
            gym_id,
            entry_point=f"{__name__}:make",
            vector_entry_point=f"{__name__}:make_vec",
            kwargs={"component": component},
        )


def make(component: str, *, split: Split = "train", world_seed: int = 0, **options: Any) -> TextGenerationEnv:
    """Return an environment of the suite for one prompt at a time; it pays the gold score.

    :param component: the component's class, as ``module:Class``.
    :param split: whose prompts.
    :param world_seed: which prompts are drawn.
    :param options: the component's own, such as ``level``, and those of
        :class:`~rltk_envs.text_generation.TextGenerationVectorEnv`.
    """
    from rltk_envs.text_generation_single import TextGenerationEnv

    environment, rest = _environment(component, world_seed, options)
    return TextGenerationEnv(**environment.text_options(split, **rest))


def make_vec(
    num_envs: int, *, component: str, split: Split = "train", world_seed: int = 0, **options: Any
) -> TextGenerationVectorEnv:
    """Return the vector environment; see :func:`make`."""
    from rltk_envs.text_generation import TextGenerationVectorEnv

    environment, rest = _environment(component, world_seed, options)
    return TextGenerationVectorEnv(num_envs, **environment.text_options(split, **rest))


def _environment(path: str, seed: int, options: dict[str, Any]) -> tuple[SuiteEnvironment, dict[str, Any]]:
    """Return the component, made with those of the options that are its own, and the others."""
    component: Any = load_env_creator(path)
    own = {key: value for key, value in options.items() if key in component.Config.model_fields}
    rest = {key: value for key, value in options.items() if key not in own}
    return component(component.Config.model_validate(own), seed=seed), rest
