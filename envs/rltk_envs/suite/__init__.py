"""The suite: small tasks with a known truth, which a model from scratch learns on a CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rltk.hookspecs import hookimpl

if TYPE_CHECKING:
    from rltk.interfaces import Environment


@hookimpl
def rltk_environments() -> list[type[Environment]]:
    """Provide the environments of the suite."""
    from rltk_envs.suite.arithmetic import Arithmetic
    from rltk_envs.suite.brackets import Brackets
    from rltk_envs.suite.copying import Copy
    from rltk_envs.suite.countdown import Countdown
    from rltk_envs.suite.guess_number import GuessNumber
    from rltk_envs.suite.questions import Questions
    from rltk_envs.suite.reversing import Reverse
    from rltk_envs.suite.sentiment import Sentiment
    from rltk_envs.suite.sorting import Sort
    from rltk_envs.suite.summarise import Summarise
    from rltk_envs.suite.twenty_questions import TwentyQuestions
    from rltk_envs.suite.word_guess import WordGuess

    return [
        Arithmetic,
        Brackets,
        Copy,
        Countdown,
        GuessNumber,
        Questions,
        Reverse,
        Sentiment,
        Sort,
        Summarise,
        TwentyQuestions,
        WordGuess,
    ]
