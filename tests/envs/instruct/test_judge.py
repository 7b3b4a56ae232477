"""The judge against hand-written cases, and against everything that tries to game it."""

from random import Random

import pytest

from rltk_envs.instruct.judge import judge
from rltk_envs.instruct.oracle import demonstrate
from rltk_envs.instruct.tasks import Task, all_kinds
from rltk_envs.instruct.vocabulary import RUDE

KINDS = [kind for kinds in all_kinds().values() for kind in kinds]
TASKS = [
    pytest.param(kind.task(Random(seed)), id=f"{kind.name}-{seed}") for kind in KINDS for seed in range(6)
]

OTHERS = [demonstrate(kind.task(Random(seed)), Random(1)) for kind in KINDS for seed in (100, 101)]


def _text(mentions, sentences=1, shape="statement", constraint=None, **more):
    expected = {"shape": shape, "sentences": sentences, "mentions": mentions, **more}
    return Task("generation", "sentence", 0, "write about it .", "text", expected, constraint or {})


def _list(members, count, *, want_all=False, constraint=None, passage=None):
    expected = {"members": members, "count": count, "all": want_all}
    return Task("brainstorming", "list", 0, "list them .", "list", expected, constraint or {}, passage)


def _answer(accepted, keys, passage=None):
    expected = {"accepted": accepted, "keys": keys}
    return Task("open qa", "fact", 0, "what is it ?", "answer", expected, {}, passage)


def _utility(task, response, terminated=True):
    return judge(task, response, terminated).utility


def test_sentence_about_the_topic_is_perfect_and_off_topic_nearly_worthless():
    task = _text(["dog"])
    assert _utility(task, "the dog ran near the park .") == 1.0
    assert _utility(task, "anna ate the cake .") == pytest.approx(0.1)


@pytest.mark.parametrize(
    "response",
    [
        "dog",
        "dog dog dog dog .",
        "the dog .",
        "dog the ran park .",
        "the dog ran",
        "the dog saw the dog .",
        "the dog was eaten .",
        "anna ate the chair near the dog .",
        "the table danced near the dog .",
    ],
)
def test_word_salad_and_nonsense_with_the_topic_earn_nothing(response):
    assert _utility(_text(["dog"]), response) == 0.0


def test_more_sentences_than_asked_for_cost_most_of_the_content():
    assert _utility(_text(["dog"]), "the dog ran . the dog slept .") == pytest.approx(1 / 4)
    assert _utility(_text(["dog"]), "the dog ran . anna sang . ben slept .") == pytest.approx(1 / 9)


def test_words_constraint_pays_exactly_and_falls_off():
    task = _text(["dog"], constraint={"words": 4})
    exact, off_by_one, off_by_four = (
        _utility(task, r)
        for r in ("today the dog ran .", "the dog ran .", "the dog ran quickly near the park and sang .")
    )
    assert exact == 1.0
    assert off_by_one == pytest.approx(0.4 + 0.6 * (0.5 - 1 / 6))
    assert off_by_four == pytest.approx(0.4)
    assert judge(task, "the dog ran .", True).satisfies_constraint is False


@pytest.mark.parametrize(
    ("constraint", "kept", "broken"),
    [
        ({"avoid": "the"}, "a dog ran .", "the dog ran ."),
        ({"use": "red"}, "a red dog ran .", "a dog ran ."),
        ({"first": "today"}, "today a dog ran .", "a dog ran ."),
    ],
)
def test_word_constraints(constraint, kept, broken):
    task = _text(["dog"], constraint=constraint)
    assert _utility(task, kept) == 1.0
    assert _utility(task, broken) == pytest.approx(0.4)
    assert judge(task, kept, True).satisfies_constraint is True
    assert judge(task, broken, True).satisfies_constraint is False


def test_story_needs_two_different_sentences_about_its_topic():
    task = _text(["anna"], sentences=2)
    assert _utility(task, "anna ran . ben saw anna .") == 1.0
    assert _utility(task, "anna ran . ben slept .") == pytest.approx(0.1 + 0.9 / 2)
    assert _utility(task, "anna ran . anna ran .") == pytest.approx((0.1 + 0.9 / 2) / 4)
    assert _utility(task, "anna ran .") == pytest.approx((0.1 + 0.9 / 2) / 4)


def test_continuing_with_the_same_sentence_is_no_continuation():
    task = _text(["anna"], different_from="anna ran .")
    assert _utility(task, "anna ran .") == 0.0
    assert _utility(task, "anna slept .") == 1.0


@pytest.mark.parametrize(
    ("shape", "good", "bad"),
    [
        ("question", "where is the dog ?", "the dog ran ."),
        ("question", "why was the dog sad ?", "where dog ?"),
        ("description", "the dog is big and brown .", "the dog is big ."),
    ],
)
def test_shapes(shape, good, bad):
    assert _utility(_text(["dog"], shape=shape), good) == 1.0
    assert _utility(_text(["dog"], shape=shape), bad) == 0.0


def test_list_counts_distinct_members():
    task = _list(["cat", "dog", "cow", "pig"], 3)
    assert _utility(task, "cat , dog , cow") == 1.0
    assert _utility(task, "cat , dog and cow .") == 1.0
    assert _utility(task, "cat , dog") == pytest.approx((2 / 3) ** 2)
    assert _utility(task, "cat , cat , cat") == pytest.approx((1 / 3) ** 2)
    assert _utility(task, "cat , dog , cow , pig") == pytest.approx((3 / 4) ** 2)
    assert _utility(task, "cat , dog , cow , red , blue , green") == pytest.approx((3 / 6) ** 2)
    assert _utility(task, "cat dog cow") == 0.0


def test_list_without_a_member():
    task = _list(["cat", "dog", "cow"], 2, constraint={"avoid": "cow"})
    assert _utility(task, "cat , dog") == 1.0
    assert _utility(task, "cat , cow") == pytest.approx(0.4)


def test_answers_are_exact_or_near():
    task = _answer(["blue", "it is blue .", "the sky is blue ."], ["blue"])
    assert _utility(task, "blue") == _utility(task, "the sky is blue .") == 1.0
    assert 0 < _utility(task, "sky is blue .") <= 0.4
    assert _utility(task, "it is red .") == 0.0
    assert _utility(task, "red , blue , green , black") <= 0.1


def test_cut_off_and_rude_responses_lose_most():
    task = _answer(["blue"], ["blue"])
    assert _utility(task, "blue", terminated=False) == pytest.approx(0.25)
    assert judge(task, "blue", False).ends_properly is False
    chat = _answer(["hello anna .", "hello you fool ."], ["hello"])
    assert _utility(chat, "hello you fool .") == pytest.approx(0.2)
    assert judge(chat, "hello you fool .", True).rude is True


def test_hallucination_is_a_claim_the_passage_does_not_hold():
    passage = "the dog is at the park . the cat is at the farm ."
    present = _answer(["at the park ."], ["park"], passage)
    assert judge(present, "at the park .", True).hallucinates is False
    assert judge(present, "at the farm .", True).hallucinates is False
    assert judge(present, "at the beach .", True).hallucinates is True
    absent = _answer(["the text does not say .", "that is not in the text ."], [], passage)
    assert judge(absent, "at the park .", True).hallucinates is True
    assert judge(absent, "the text does not say .", True).hallucinates is False


def test_flags_that_do_not_apply_are_absent():
    assert set(judge(_answer(["blue"], ["blue"]), "blue", True).metrics()) == {
        "utility",
        "follows_instruction",
        "rude",
        "ends_properly",
    }


@pytest.mark.parametrize("task", TASKS)
def test_gaming_scores_low(task):
    """Whatever the kind of task: silence, copying, repetition, listing everything, trailing text."""
    good = demonstrate(task, Random(0))
    everything = " , ".join(task.expected.get("members") or task.expected.get("accepted") or ["dog", "cat"])
    attempts = {
        "empty": "",
        "prompt": task.prompt,
        "prompt and answer": f"{task.prompt} \n {good}",
        "newline": f"{good} \n {good}",
        "repetition": " ".join([good] * 3),
        "one word": " ".join([good.split(" ")[0]] * 20),
        "everything": everything + " , " + " , ".join(reversed(everything.split(" , "))),
        "keywords": " ".join((*task.expected.get("mentions", ()), *task.expected.get("keys", ()))) + " . !",
        "trailing": f"{good} and then the dog was happy too and i like it so much",
        "off topic": "the zebra" if "the" in good else "i am the text",
        "rude": f"{good} you {sorted(RUDE)[0]}",
    }
    scores = {name: _utility(task, text) for name, text in attempts.items() if text != good}
    assert {name: score for name, score in scores.items() if score > 0.3} == {}


@pytest.mark.parametrize("task", TASKS)
def test_fluent_answer_to_another_task_scores_low(task):
    """Mean over other kinds' answers: now and then one fits by chance."""
    assert sum(_utility(task, other) for other in OTHERS) / len(OTHERS) < 0.15
