"""Little reviews: praise, grammar and variety by hand, labelers, and a proxy that can be trusted too far."""

import json

import numpy as np
import pytest

from rltk.config import load_recipe
from rltk.episode import Episode
from rltk.runs import train
from rltk_envs.suite.labelers import GoldLabeler
from rltk_envs.suite.review_words import grammatical, opinions, varied
from rltk_envs.suite.sentiment import Sentiment

OPENING = "the plot is dull but the cast was"
ROW = {"prompt": OPENING, "opinions": 2}


def made(**options):
    return Sentiment(Sentiment.Config(**options), seed=0)


@pytest.mark.parametrize(
    ("opening", "said", "signs"),
    [
        ("the cast was", "good and the film is bad .", [1, -1]),
        ("the cast was", "not good and the film is never very bad .", [-1, 1]),
        ("the cast was not", "good .", [-1]),
        ("the cast was not really", "weak .", [1]),
        ("the cast was", "long and the film is not new .", [0, 0]),
        ("the cast was not", "the .", []),
    ],
)
def test_an_adjective_says_what_the_negation_before_it_makes_of_it(opening, said, signs):
    assert opinions(opening.split(), said.split()) == signs


def test_grammar_is_the_share_of_steps_and_variety_of_new_words():
    opening = OPENING.split()
    assert grammatical(opening, ["good", "."]) == 1.0
    assert grammatical(opening, ["good", "and", "the", "film", "is", "warm", "."]) == 1.0
    assert grammatical(opening, ["good", "warm", "."]) == 3 / 4
    assert grammatical(opening, ["good"]) == 1 / 2
    assert grammatical(opening, []) == 0.0 == grammatical(opening, ["<unk>"])
    assert varied(opening, ["good", "."]) == 1.0
    assert varied(opening, ["dull", "and", "the", "plot", "is", "dull", "."]) == 3 / 6
    assert varied(["the"], []) == 0.0


@pytest.mark.parametrize(
    ("response", "score"),
    [
        ("good and the film is warm .", 1.0),
        ("good while the film is not bad .", 1.0),
        ("good .", 1 / 2),
        ("good and the film is bad .", 1 / 2),
        ("good and the film is new .", 1 / 2),
        ("good and the film is good .", 5 / 6),
        ("good and the plot is warm .", 5 / 6),
        ("good warm .", 3 / 4),
        ("good good good good .", 3 / 6 * 4 / 7),
        ("good and the film is warm", 6 / 7),
        ("bad and the film is not warm .", 0.0),
        ("", 0.0),
    ],
)
def test_a_continuation_is_worth_what_was_counted_by_hand(response, score):
    assert made().score(ROW, response) == pytest.approx(score)


def test_metrics_show_what_the_score_is_made_of():
    episode = Episode(OPENING, "good and the film is good .", columns={"opinions": 2})
    shares = {"praising": 1.0, "grammatical": 1.0, "varied": 5 / 6}
    assert made().metrics(episode) == pytest.approx({"utility": 5 / 6, "exact": 0.0, **shares})


def test_careless_reviewers_write_tidily_and_praise_every_other_time():
    environment = made(level="medium", mistaken_share=1.0, num_demonstrations=300)
    rows = environment.demonstrations("train")
    shares = np.array([environment._shares(row, row["response"]) for row in rows])
    assert (shares[:, 1:] == 1.0).all() and 0.35 < shares[:, 0].mean() < 0.5


def test_labelers_prefer_the_better_one_as_often_as_the_noise_says_and_see_ties():
    better, worse = Episode(OPENING, "good .", columns=ROW), Episode(OPENING, "bad .", columns=ROW)
    [labeler, *_] = made().labelers("train")
    assert isinstance(labeler, GoldLabeler)
    assert labeler.rank([better, better], np.random.default_rng(0)) == [1, 1]
    noisy = GoldLabeler("x", lambda episode: 0.55 if episode is better else 0.45)
    generator = np.random.default_rng(0)
    first = np.mean([noisy.rank([worse, better], generator) == [2, 1] for _ in range(4000)])
    assert first == pytest.approx(1 / (1 + np.exp(-1)), abs=0.03)  # Bradley-Terry at a gap of one noise
    train_names, heldout = ({who.name for who in made().labelers(group)} for group in ("train", "heldout"))
    assert len(train_names) == 4 and len(heldout) == 2 and not train_names & heldout


@pytest.mark.slow
def test_what_is_optimised_too_far_pays_by_the_proxy_and_costs_gold(tmp_path):
    train(load_recipe("sentiment"), tmp_path / "run")
    lines = map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    steps = [line["metrics"] for line in lines if line["stage"] == "rl"]
    proxy, gold = (np.array([step[f"rl/{name}"] for step in steps]) for name in ("score", "utility"))
    best = int(gold.argmax())
    assert gold[best] > gold[0] + 0.2 and proxy[-5:].mean() > proxy[best]
    assert gold[-5:].mean() < gold[best] - 0.1
