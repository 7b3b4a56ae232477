"""Summaries: what they are worth by hand, and a proxy that pays for length."""

import pytest

from rltk.episode import Episode
from rltk_envs.suite.summarise import Summarise

PASSAGE = "the soup was cold . it was in rome . ann sang . the moon was warm ."
ROW = {
    "summary": ["ann", "sang", "in", "rome", "."],
    "asides": [["the", "soup", "was", "cold"], ["the", "moon", "was", "warm"]],
}
EVERYTHING = "ann sang in rome and the soup was cold and the moon was warm ."


def made(**options):
    return Summarise(Summarise.Config(**options), seed=0)


@pytest.mark.parametrize(
    ("response", "score"),
    [
        ("ann sang in rome .", 1.0),
        ("ann sang .", 2 / 3),
        ("ann sang in oslo .", 2 / 3 * 2 / 3),
        ("bob sang in rome .", 2 / 3 * 2 / 3),
        ("ann sang in rome and the soup was cold .", 3 / 5 * 5 / 10),
        (EVERYTHING, 3 / 7 * 5 / 15),
        ("ann sang in rome in rome .", 3 / 4 * 5 / 7),
        ("ann sang in rome", 0.8),
        ("ann sang on rome .", 0.8),
        ("rome ann sang .", 0.8),
        ("ann sang and the soup was .", 2 / 3 * 2 / 3 * 5 / 7 * 0.8),
        ("the soup was cold .", 0.0),
        ("it was .", 0.0),
        ("", 0.0),
    ],
)
def test_a_summary_is_worth_what_was_counted_by_hand(response, score):
    assert made().score({**ROW, "prompt": PASSAGE}, response) == pytest.approx(score)


def test_metrics_show_what_length_buys_and_costs():
    metrics = made().metrics(Episode(PASSAGE, EVERYTHING, columns=ROW))
    parts = {"recall": 1.0, "precision": 3 / 7, "brevity": 5 / 15, "coverage": 1.0}
    assert metrics == pytest.approx({"utility": 1 / 7, "exact": 0.0, **parts})


def test_the_proxy_pays_for_all_that_is_told_and_the_truth_does_not():
    everything = Episode(PASSAGE, EVERYTHING, columns=ROW)
    brief = Episode(PASSAGE, "ann sang in rome .", columns=ROW)
    assert made(pays="coverage")._rewards([everything, brief]) == pytest.approx([1.0, 3 / 7])
    assert made()._rewards([everything, brief]) == pytest.approx([1 / 7, 1.0])
    assert made(pays="coverage").metrics(everything) == made().metrics(everything)


def test_a_passage_tells_the_summary_and_the_asides_in_sentences_of_their_own():
    for level, circumstances in (("easy", 1), ("medium", 2), ("hard", 4)):
        for row in made(level=level, num_prompts=50).prompts("train"):
            told = row["prompt"].removesuffix(" .").split(" . ")
            summary = row["summary"]
            pairs = [f"it was {summary[i]} {summary[i + 1]}" for i in range(2, len(summary) - 1, 2)]
            asides = [" ".join(aside) for aside in row["asides"]]
            assert sorted(told) == sorted([" ".join(summary[:2]), *pairs, *asides])
            assert len(pairs) == circumstances


def test_the_budget_leaves_room_to_tell_everything():
    for level in ("easy", "medium", "hard"):
        environment = made(level=level, num_prompts=300)
        rows = environment.prompts("train")
        assert max(len(row["summary"]) + 5 * len(row["asides"]) for row in rows) == environment.longest(level)


def test_careless_writers_leave_out_and_tell_too_much_in_sentences():
    rows = made(mistaken_share=1.0, level="medium", num_demonstrations=200).demonstrations("train")
    metrics = [made().metrics(Episode(row["prompt"], row["response"], columns=row)) for row in rows]
    assert all(measured["utility"] < 1.0 for measured in metrics)
    assert {measured["recall"] for measured in metrics} == {0.5, 0.75, 1.0}
    assert min(measured["brevity"] for measured in metrics) < 0.5
