"""Closed-book questions: a fixed world, what of it training shows, and answers by hand."""

from collections import Counter

import pytest

from rltk.episode import Episode
from rltk_envs.suite.question_world import UNKNOWN, VALUES, WORDINGS, facts
from rltk_envs.suite.questions import Questions

ALL = {"num_prompts": 9999, "heldout_prompts": 9999, "num_demonstrations": 9999}
KNOWN = {"status": "known", "answer": "rome", "subject": "town"}
UNSEEN = {"status": "unseen", "answer": "unknown", "subject": "town"}


def made(seed=0, **options):
    return Questions(Questions.Config(**options), seed=seed)


@pytest.mark.parametrize(
    ("row", "response", "score"),
    [
        (KNOWN, "rome", 1.0),
        (KNOWN, "unknown", 0.1),
        (KNOWN, "oslo", 0.0),
        (KNOWN, "rome rome", 0.0),
        (KNOWN, "", 0.0),
        (UNSEEN, "unknown", 1.0),
        (UNSEEN, "rome", 0.0),
        (UNSEEN, "", 0.0),
    ],
)
def test_answers_are_worth_what_was_agreed(row, response, score):
    assert made().score(row, response) == score


@pytest.mark.parametrize(
    ("row", "response", "flags"),
    [
        (KNOWN, "rome", {"right": 1, "abstained": 0, "hallucinated": 0}),
        (KNOWN, "unknown", {"right": 0, "abstained": 1, "hallucinated": 0}),
        (KNOWN, "oslo", {"right": 0, "abstained": 0, "hallucinated": 1}),
        (KNOWN, "", {"right": 0, "abstained": 0, "hallucinated": 0}),
        (UNSEEN, "unknown", {"right": 0, "abstained": 1, "hallucinated": 0, "hallucinated_unseen": 0}),
        (UNSEEN, "rome", {"right": 0, "abstained": 0, "hallucinated": 1, "hallucinated_unseen": 1}),
    ],
)
def test_metrics_tell_right_from_honest_and_made_up(row, response, flags):
    metrics = made().metrics(Episode("the town of ann is", response, columns=row))
    assert {name: value for name, value in metrics.items() if name not in ("utility", "exact")} == flags


def test_of_eight_facts_six_are_known_one_is_admitted_and_one_unseen():
    for people, subjects in ((16, 3), (24, 5), (40, 6)):
        found = facts(people, subjects)
        count = people * subjects
        assert Counter(fact.status for fact in found) == {
            "known": count * 6 // 8,
            "admitted": count // 8,
            "unseen": count // 8,
        }
        assert all((fact.answer == UNKNOWN) == (fact.status != "known") for fact in found)
        assert all(fact.answer in (*VALUES[fact.subject], UNKNOWN) for fact in found)
    assert {fact.person: fact for fact in facts(16, 1)}.items() <= {f.person: f for f in facts(40, 1)}.items()


@pytest.mark.parametrize("level", ["easy", "medium", "hard"])
def test_training_shows_what_is_known_in_some_wording_and_never_the_unseen(level):
    environment = made(level=level, **ALL)
    shown = {
        row["prompt"] for what in (environment.prompts, environment.demonstrations) for row in what("train")
    }
    size = {"easy": (16, 3), "medium": (24, 5), "hard": (40, 6)}[level]
    for fact in facts(*size):
        assert bool(shown & set(fact.questions())) == (fact.status != "unseen")
    for split in ("train", "validation", "test"):
        assert "unseen" not in {row["status"] for row in environment.demonstrations(split)}
    asked = [row for split in ("validation", "test") for row in environment.prompts(split)]
    assert {row["status"] for row in asked} == {"known", "admitted", "unseen"}
    unseen = sum(fact.status == "unseen" for fact in facts(*size))
    assert sum(row["status"] == "unseen" for row in asked) < unseen * len(WORDINGS)


def test_the_world_is_the_same_for_every_seed():
    answers = [{row["prompt"]: row["answer"] for row in made(seed, **ALL).prompts("test")} for seed in (0, 1)]
    assert answers[0] == answers[1] and len(answers[0]) > 30


def test_writers_make_up_a_value_of_the_kind_that_is_asked_for():
    for row in made(mistaken_share=1.0, **ALL).demonstrations("train"):
        assert row["response"] in VALUES[row["subject"]] and row["response"] != row["answer"]
