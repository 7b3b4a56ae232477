"""The contract of reward models, as checks."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rltk.coroutines import resolve
from rltk.episode import Episode
from rltk.interfaces import RewardModel
from rltk.scoring import Score, score_episodes
from rltk.testing.components import component_under_check
from rltk.testing.guards import unchanged, untouched_rng
from rltk.testing.running import Progress, fail, ignore, require, run_checks
from rltk.testing.worlds import awkward_episodes, word_tokenizer

#: How far a model's scores may differ with the batch they were computed in.
TOLERANCE = 1e-5


@dataclass
class _Subject:
    """A reward model, opened, with the episodes to score."""

    make: Callable[[], RewardModel]
    reward: RewardModel
    episodes: list[Episode]

    def scores(self, episodes: Sequence[Episode] | None = None) -> list[Score]:
        """Return checked scores of copies of some episodes, or of all."""
        scored = copy.deepcopy(list(self.episodes if episodes is None else episodes))
        return score_episodes(self.reward, scored)


def check_reward_model(
    component: type[RewardModel] | str,
    options: Mapping[str, Any] | None = None,
    *,
    episodes: Sequence[Episode] | None = None,
    directory: Path | None = None,
    progress: Progress = ignore,
) -> None:
    """Assert that a reward model keeps its contract.

    :param component: the class, or the name of a registered one.
    :param options: for its Config; None: what its ``check_options`` returns.
    :param episodes: what to score, for a reward that needs columns of its own; None: awkward ones, see
        :func:`rltk.testing.worlds.awkward_episodes`.
    :param directory: an empty folder for files; None: a temporary one.
    :param progress: told of every check.
    :raises AssertionError: saying what was seen and what to change.
    """
    with component_under_check("reward_model", component, options, directory, progress) as found:
        given = list(awkward_episodes() if episodes is None else episodes)

        def make() -> RewardModel:
            model: RewardModel = found.make(
                device="cpu", tokenizer=word_tokenizer(), progress=lambda: (1, 10)
            )
            return model

        run_checks(found.who, (makes_nothing_random,), make, progress)
        subject = _Subject(make, make(), given)
        run_checks(found.who, (opens,), subject, progress)
        try:
            run_checks(found.who, SCORE_CHECKS, subject, progress)
        except BaseException:
            resolve(subject.reward.close())
            raise
        run_checks(found.who, (closes,), subject, progress)


def makes_nothing_random(make: Callable[[], RewardModel]) -> None:
    """It is made without global randomness."""
    with untouched_rng("the constructor"):
        make()


def opens(subject: _Subject) -> None:
    """It opens what it needs in setup()."""
    with untouched_rng("setup()"):
        resolve(subject.reward.setup())


def scores_every_episode(subject: _Subject) -> None:
    """It gives every episode a finite number, one a response token, or None."""
    subject.scores()


def scores_none_of_none(subject: _Subject) -> None:
    """It returns an empty list for no episodes."""
    try:
        answer = list(resolve(subject.reward.score([])))
    except Exception as error:
        fail(f"score([]) raised {type(error).__name__}: {error}", fix="return [] for no episodes")
    require(not answer, f"score([]) returned {answer!r}", fix="return [] for no episodes")


def leaves_episodes_alone(subject: _Subject) -> None:
    """It leaves the episodes as they are."""
    episodes = copy.deepcopy(subject.episodes)
    with unchanged("the episodes", episodes):
        score_episodes(subject.reward, episodes)


def leaves_global_randomness_alone(subject: _Subject) -> None:
    """It leaves the global random generators alone."""
    with untouched_rng("score()"):
        subject.scores()


def is_repeatable(subject: _Subject) -> None:
    """It scores the same episodes the same twice."""
    first, second = subject.scores(), subject.scores()
    fix = "score() must depend on the episodes and the options alone"
    _require_same(first, second, "the first time", "the second time", fix)


def ignores_the_order(subject: _Subject) -> None:
    """Its scores do not depend on the order of episodes."""
    backwards = subject.scores(subject.episodes[::-1])[::-1]
    fix = "score each episode by itself, and return scores in the order of the episodes"
    _require_same(subject.scores(), backwards, "in one order", "in the reverse order", fix)


def ignores_the_company(subject: _Subject) -> None:
    """Its scores do not depend on which other episodes are in the batch."""
    alone = [subject.scores([episode])[0] for episode in subject.episodes]
    batch = f"in a batch of {len(alone)}"
    fix = "score each episode by itself; batches are cut in any way, so mask the padding of a model"
    _require_same(alone, subject.scores(), "alone", batch, fix)


def reports_numbers(subject: _Subject) -> None:
    """Its metrics() are finite numbers by name."""
    subject.scores()
    metrics = subject.reward.metrics()
    fix = 'return a dict such as {"share_refused": 0.25}'
    require(isinstance(metrics, Mapping), f"metrics() returned {metrics!r}", fix=fix)
    for name, value in metrics.items():
        number = isinstance(name, str) and isinstance(value, int | float) and math.isfinite(value)
        require(number, f"metrics() holds {name!r}: {value!r}", fix=fix)


def closes(subject: _Subject) -> None:
    """It closes, also when nothing was scored."""
    resolve(subject.reward.close())
    unused = subject.make()
    resolve(unused.setup())
    resolve(unused.close())


SCORE_CHECKS = (
    scores_every_episode,
    scores_none_of_none,
    leaves_episodes_alone,
    leaves_global_randomness_alone,
    is_repeatable,
    ignores_the_order,
    ignores_the_company,
    reports_numbers,
)


def _require_same(first: list[Score], second: list[Score], when: str, other: str, fix: str) -> None:
    for index, (a, b) in enumerate(zip(first, second, strict=True)):
        require(_same(a, b), f"episode {index} got {_shown(a)} {when} and {_shown(b)} {other}", fix=fix)


def _same(first: Score, second: Score) -> bool:
    if first is None or second is None:
        return first is second
    if isinstance(first, list) or isinstance(second, list):
        if not (isinstance(first, list) and isinstance(second, list)) or len(first) != len(second):
            return False
        return all(_same(a, b) for a, b in zip(first, second, strict=True))
    return math.isclose(first, second, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def _shown(score: Score) -> str:
    if isinstance(score, list):
        return f"[{', '.join(_shown(number) for number in score)}]"
    return "None" if score is None else f"{score:.6g}"
