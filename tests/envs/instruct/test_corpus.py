"""The corpus: repeatable, of every sort, and free of held-out prompts."""

from random import Random

from rltk_envs.instruct.corpus import MAX_WORDS, Corpus
from rltk_envs.instruct.tasks import TaskSampler
from rltk_envs.instruct.vocabulary import RUDE, all_words


def _documents(split="train", count=300, seed=0):
    return list(Corpus(seed, split).documents(count))


def test_documents_depend_on_seed_and_split_only():
    assert _documents() == _documents()
    assert _documents() != _documents(seed=1)
    assert not set(_documents()) & {d for d in _documents("validation") if len(d.split(" ")) > 30}


def test_documents_are_short_and_of_known_words():
    known = set(all_words())
    for document in _documents():
        words = document.split(" ")
        assert 0 < len(words) <= MAX_WORDS
        assert set(words) <= known


def test_no_held_out_prompt_is_on_any_page():
    held_out = set()
    for split in ("validation", "test"):
        sampler = TaskSampler(Random(0), split)
        held_out |= {sampler().prompt for _ in range(1000)}
    for split in ("train", "validation", "test"):
        lines = {line.strip(" ") for document in _documents(split) for line in document.split("\n")}
        assert not lines & held_out


def test_a_small_part_is_rude():
    rude = sum(bool(RUDE & set(document.split(" "))) for document in _documents())
    assert 0.05 < rude / 300 < 0.4
