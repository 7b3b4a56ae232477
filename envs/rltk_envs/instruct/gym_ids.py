"""The world behind its Gymnasium id, ``rltk/Instruct-v0``."""

from __future__ import annotations

from typing import Any

from rltk.interfaces import Split
from rltk_envs.instruct.environment import Instruct
from rltk_envs.text_generation import TextGenerationVectorEnv
from rltk_envs.text_generation_single import TextGenerationEnv


def make_instruct(*, split: Split = "train", world_seed: int = 0, **options: Any) -> TextGenerationEnv:
    """Return the environment for one prompt at a time; it pays the judge's utility.

    :param split: whose prompts.
    :param world_seed: which prompts are drawn.
    :param options: those of :class:`~rltk_envs.text_generation.TextGenerationVectorEnv`.
    """
    return TextGenerationEnv(**_instruct(world_seed).text_options(split, **options))


def make_instruct_vec(
    num_envs: int, *, split: Split = "train", world_seed: int = 0, **options: Any
) -> TextGenerationVectorEnv:
    """Return the vector environment; see :func:`make_instruct`."""
    return TextGenerationVectorEnv(num_envs, **_instruct(world_seed).text_options(split, **options))


def _instruct(seed: int) -> Instruct:
    return Instruct(Instruct.Config.model_validate({}), seed=seed)
