"""Labelers: tastes, ties, and the paper's rate of agreement."""

from random import Random

import numpy as np
import pytest

from rltk.episode import Episode
from rltk_envs.instruct import labelers as module
from rltk_envs.instruct.labelers import InstructLabeler, agreement, labelers
from rltk_envs.instruct.oracle import demonstrate
from rltk_envs.instruct.tasks import TaskSampler


def _corrupt(response, rng, other):
    """What a mediocre model does: a wrong word, a word too many or too few, another task's answer, no end."""
    words, kind = response.split(" "), rng.randrange(6)
    if kind <= 1:
        words[rng.randrange(len(words))] = rng.choice(other.split(" "))
    elif kind == 2:
        del words[rng.randrange(len(words))]
    elif kind == 3:
        words.insert(rng.randrange(len(words)), rng.choice(words))
    elif kind == 4:
        words = other.split(" ")
    else:
        words = (words * 4)[:24]
    return " ".join(words), kind != 5


def _episodes(prompts, responses, seed=0):
    """Responses to prompts of which some are nearly always answered well and some nearly never."""
    rng = Random(seed)
    sampler = TaskSampler(rng, "train")
    rows = []
    for _ in range(prompts):
        task, difficulty = sampler(), rng.betavariate(0.8, 0.8)
        row, episodes = task.to_row(), []
        for _ in range(responses):
            response, ended = demonstrate(task, rng), True
            if rng.random() < difficulty:
                response, ended = _corrupt(response, rng, demonstrate(sampler(), rng))
            episodes.append(
                Episode(task.prompt, response, columns=row, terminated=ended, truncated=not ended)
            )
        rows.append(episodes)
    return rows


def test_two_labelers_agree_as_often_as_the_papers():
    everybody = [*labelers("train"), *labelers("heldout")]
    found = agreement(everybody, _episodes(300, 4), np.random.default_rng(0))
    assert found == pytest.approx(0.726, abs=0.015)


def test_groups_are_apart():
    train, heldout = ({labeler.name for labeler in labelers(group)} for group in ("train", "heldout"))
    assert len(train) == 8
    assert len(heldout) == 4
    assert not train & heldout


def test_without_noise_tastes_decide(monkeypatch):
    monkeypatch.setattr(module, "NOISE", 0.0)
    row = _episodes(1, 1)[0][0].columns
    task_row = {**row, "task": _fact()}
    right_long, right, wrong_short = (
        Episode("", text, columns=task_row) for text in ("the sky is blue .", "blue", "red")
    )
    generator = np.random.default_rng(0)
    careful = InstructLabeler("careful", helpfulness=0, correctness=1, brevity=0, manners=0)
    hasty = InstructLabeler("hasty", helpfulness=0, correctness=0, brevity=1, manners=0)
    assert careful.rank([wrong_short, right_long, right], generator) == [3, 1, 1]
    assert hasty.rank([wrong_short, right_long, right], generator) == [1, 3, 1]
    assert careful.value(right) == 1.0
    assert hasty.value(right) == pytest.approx(11 / 12)


def _fact():
    return {
        "use_case": "open qa",
        "kind": "colour of",
        "wording": 0,
        "prompt": "what colour is the sky ?",
        "form": "answer",
        "expected": {"accepted": ["blue", "the sky is blue ."], "keys": ["blue"]},
        "constraint": {},
        "passage": None,
    }


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1, 9, 8.5, 5], [4, 1, 1, 3]), ([9, 6, 3], [1, 2, 3]), ([5, 5.6, 6.2], [1, 1, 1])],
)
def test_ranks_are_competition_ranks_with_chained_ties(monkeypatch, values, expected):
    monkeypatch.setattr(module, "NOISE", 1e-9)
    labeler = labelers("train")[0]
    episodes = [Episode("", str(value)) for value in values]
    margin = module.TIE_MARGIN
    monkeypatch.setattr(InstructLabeler, "value", lambda self, episode: margin * float(episode.response))
    assert labeler.rank(episodes, np.random.default_rng(0)) == expected


def test_equal_responses_tie_and_the_generator_decides_the_rest():
    episodes = _episodes(1, 3)[0]
    labeler = labelers("train")[0]
    ranks = labeler.rank([episodes[0]] * 4, np.random.default_rng(0))
    assert ranks == [1, 1, 1, 1]
    first, again = (labeler.rank(episodes, np.random.default_rng(7)) for _ in range(2))
    assert first == again


def test_preference_follows_the_logistic_law():
    """Gumbel noise makes the better of two win with probability sigmoid(difference / NOISE)."""
    task_row = {"task": _fact()}
    pair = [Episode("", text, columns=task_row) for text in ("blue", "red")]
    labeler = labelers("train")[0]
    difference = labeler.value(pair[0]) - labeler.value(pair[1])
    generator = np.random.default_rng(0)
    ranks = np.array([labeler.rank(pair, generator) for _ in range(1500)])
    decided = ranks[ranks[:, 0] != ranks[:, 1]]
    expected = 1 / (1 + np.exp(-difference / module.NOISE))
    assert (decided[:, 0] < decided[:, 1]).mean() == pytest.approx(expected, abs=0.03)


def test_agreement_counts_only_pairs_on_which_both_have_a_preference():
    class Fixed:
        def __init__(self, ranks):
            self.ranks = ranks

        def rank(self, episodes, generator):
            return self.ranks

    generator = np.random.default_rng(0)
    episodes = [Episode("", str(i)) for i in range(3)]
    one, other = Fixed([1, 2, 3]), Fixed([1, 1, 3])
    assert agreement([one, other], [episodes], generator) == 1.0  # pair (0, 1) is a tie to the other
    assert agreement([one, Fixed([2, 1, 3])], [episodes], generator) == pytest.approx(2 / 3)
    assert np.isnan(agreement([Fixed([1, 1, 1]), other], [episodes], generator))
