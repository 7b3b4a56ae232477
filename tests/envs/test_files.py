"""The environment of a user's own files: rows, splits, limits, prompts too long, and mistakes."""

import gzip
import importlib.util
import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from rltk.byte_level_bpe import EOS_TOKEN, PAD_TOKEN, train_byte_level_bpe
from rltk.errors import UserError
from rltk_envs.files import Files
from rltk_envs.prompt_limits import cut_left

CORPUS = "the cat sat on the mat\n<|endoftext|>\nthe dog sat on the log\n<|endoftext|>\n" * 20


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write rows or text into the working directory and return the name."""
    monkeypatch.chdir(tmp_path)

    def write(name, content):
        if not isinstance(content, str):
            content = "".join(json.dumps(row) + "\n" for row in content)
        data = content.encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return name

    return write


@pytest.fixture
def corpus(write):
    return write("corpus.txt.gz", CORPUS)


def files(**options):
    return Files(Files.Config(**options), seed=0)


def demonstrations(count, split="train"):
    return [{"prompt": f"prompt {i}", "response": f"answer {i}", "split": split} for i in range(count)]


def error_of(function, *arguments, **options):
    with pytest.raises(UserError) as caught:
        result = function(*arguments, **options)
        list(result)
    return str(caught.value)


class TestRows:
    def test_marked_rows_go_where_they_are_marked(self, write):
        rows = [*demonstrations(3), *demonstrations(2, "validation")]
        env = files(demonstrations=write("d.jsonl", rows), prompts=write("p.jsonl.gz", rows))
        assert env.demonstrations("train") == rows[:3]
        assert env.demonstrations("validation") == rows[3:]
        assert env.prompts("train") == rows[:3]

    def test_validation_stands_in_for_test_unless_rows_are_marked_test(self, write):
        rows = [*demonstrations(3), *demonstrations(2, "validation")]
        assert files(prompts=write("p.jsonl", rows)).prompts("test") == rows[3:]
        rows += demonstrations(1, "test")
        assert files(prompts=write("p.jsonl", rows)).prompts("test") == rows[5:]

    def test_unmarked_prompts_are_in_the_same_split_in_every_file(self, write):
        rows = [{"prompt": f"prompt {i % 150}", "response": str(i)} for i in range(300)]
        comparisons = [{"prompt": f"prompt {i}", "chosen": "a", "rejected": "b"} for i in range(150)]
        env = files(
            demonstrations=write("d.jsonl", rows),
            comparisons=write("c.jsonl", comparisons),
            validation_share=0.2,
        )
        held_out = {row["prompt"] for row in env.demonstrations("validation")}
        assert held_out == {row["prompt"] for row in env.comparisons("validation")}
        assert held_out.isdisjoint(row["prompt"] for row in env.demonstrations("train"))
        assert len(env.demonstrations("train")) + len(env.demonstrations("validation")) == 300

    def test_several_sources_of_comparisons_and_rankings_are_joined(self, write):
        pairs = write("c.jsonl", [{"prompt": "p", "chosen": "a", "rejected": "b", "split": "train"}])
        ranked = [{"prompt": "q", "responses": ["a", "b", "c"], "ranking": [2, 0, 1], "split": "train"}]
        env = files(comparisons=[pairs, write("r.jsonl", ranked)])
        read = [(row["responses"], row["ranks"]) for row in env.comparisons("train")]
        assert read == [(["a", "b"], [1, 2]), (["a", "b", "c"], [2, 3, 1])]

    def test_empty_rows_are_left_out_and_counted_once(self, write, caplog):
        rows = [*demonstrations(2), {"prompt": " ", "response": "x"}, {"prompt": "x", "response": ""}]
        env = files(demonstrations=write("d.jsonl", rows))
        assert len(env.demonstrations("train")) == 2
        env.demonstrations("train")
        assert [record.getMessage() for record in caplog.records] == [
            "environment.demonstrations: left out 2 of 4 rows with an empty prompt or response"
        ]

    def test_rankings_of_one_text_are_left_out_and_counted(self, write, caplog):
        same = {"prompt": "p", "chosen": "a", "rejected": "a", "split": "train"}
        env = files(comparisons=write("c.jsonl", [same, {**same, "rejected": "b"}]))
        assert len(env.comparisons("train")) == 1
        message = "environment.comparisons: left out 1 of 2 rows with responses that are all equal"
        assert [record.getMessage() for record in caplog.records] == [message]

    def test_limits_draw_rows_in_stored_order_by_the_seed(self, write):
        path = write("d.jsonl", demonstrations(50))
        chosen = files(demonstrations=path, limits={"train": 10}).demonstrations("train")
        numbers = [int(row["prompt"].split()[1]) for row in chosen]
        assert len(set(numbers)) == 10 and numbers == sorted(numbers) and numbers != list(range(10))
        assert files(demonstrations=path, limits={"train": 10}).demonstrations("train") == chosen

    def test_renamed_columns(self, write):
        path = write("d.jsonl", [{"question": "p", "answer": "r", "split": "train"}])
        env = files(demonstrations=path, columns={"prompt": "question", "response": "answer"})
        assert env.demonstrations("train")[0]["response"] == "r"


class TestCorpus:
    def test_documents_in_stored_order(self, write, corpus):
        held_out = write("held_out.txt", "a held-out document")
        env = files(corpus=corpus, corpus_validation=held_out)
        assert list(env.corpus("train"))[:2] == ["the cat sat on the mat", "the dog sat on the log"]
        assert list(env.corpus("validation")) == list(env.corpus("test")) == ["a held-out document"]

    def test_without_a_validation_corpus_some_documents_are_set_aside(self, write):
        documents = [f"document {i}" for i in range(200)]
        env = files(corpus=write("c.txt", "\n<|endoftext|>\n".join(documents)), validation_share=0.2)
        train, held_out = list(env.corpus("train")), list(env.corpus("validation"))
        assert sorted(train + held_out) == sorted(documents)
        assert 20 < len(held_out) < 60

    def test_jsonl_corpus(self, write):
        env = files(corpus=write("c.jsonl", [{"text": "one"}]), corpus_validation=write("v.txt", "two"))
        assert list(env.corpus("train")) == ["one"]


class TestTokenizer:
    def test_trained_bpe_is_reversible_deterministic_and_keeps_special_tokens_out_of_text(self, tmp_path):
        def train():
            return train_byte_level_bpe([CORPUS], vocab_size=300, max_characters=10**6)

        tokenizer = train()
        text = f"naïve 你好 \u202b🙂 {EOS_TOKEN}\n\n\ttwo  spaces{PAD_TOKEN} "
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert tokenizer.decode(ids) == text
        assert {tokenizer.eos_token_id, tokenizer.pad_token_id}.isdisjoint(ids)
        assert tokenizer.eos_token_id != tokenizer.pad_token_id
        assert train().get_vocab() == tokenizer.get_vocab()
        tokenizer.save_pretrained(tmp_path)
        loaded = files(tokenizer=str(tmp_path)).build_tokenizer()
        assert loaded.encode(text, add_special_tokens=False) == ids

    def test_merges_come_from_the_first_characters_alone(self):
        short = train_byte_level_bpe(["ab" * 50, "cd" * 500], vocab_size=300, max_characters=100)
        vocabulary = short.get_vocab()
        assert "ab" in vocabulary and "cd" not in vocabulary

    def test_built_from_the_corpus_with_the_asked_vocabulary(self, corpus):
        assert len(files(corpus=corpus, vocab_size=270).build_tokenizer()) == 270

    def test_without_text(self):
        message = error_of(train_byte_level_bpe, [], vocab_size=300, max_characters=10)
        assert (
            message
            == "tokenizer: there is no text to train a tokenizer on. Fix: give a corpus with text in it."
        )

    def test_without_corpus_or_tokenizer(self):
        assert error_of(files().build_tokenizer) == (
            "environment.corpus: no file is given. "
            "Fix: set environment.corpus=PATH (plain text, or JSONL with text)."
        )

    @pytest.mark.parametrize(
        ("token", "problem"),
        [
            ("pad_token", "the tokenizer has no pad token"),
            ("eos_token", "the tokenizer has no EOS token"),
        ],
    )
    def test_without_pad_or_eos(self, write, tmp_path, token, problem):
        tokenizer = train_byte_level_bpe([CORPUS], vocab_size=300, max_characters=10**6)
        setattr(tokenizer, token, None)
        tokenizer.save_pretrained(tmp_path)
        env = files(tokenizer=str(tmp_path), prompts=write("p.jsonl", demonstrations(1)))
        assert error_of(env.make_vec, 1).startswith(f"environment.tokenizer: {problem}. Fix: ")

    def test_not_a_tokenizer(self, tmp_path):
        message = error_of(files(tokenizer=str(tmp_path)).build_tokenizer)
        assert message.startswith("environment.tokenizer: no tokenizer can be loaded from it")


class TestPrompts:
    def test_template(self):
        env = files(template="Human: {prompt}\n\nAssistant: ")
        assert env.format_prompt("{x} {prompt}") == "Human: {x} {prompt}\n\nAssistant: "
        shown = env.few_shot_prefix([{"prompt": "a", "response": "b"}])
        assert shown == "Human: a\n\nAssistant: b\n\n"

    def test_long_prompts_are_an_error_by_default(self, write, corpus):
        long = {"prompt": "the cat " * 30, "split": "train"}
        env = files(corpus=corpus, prompts=write("p.jsonl", [long]), max_prompt_tokens=20)
        length = len(
            env.build_tokenizer().encode(env.format_prompt(long["prompt"]), add_special_tokens=False)
        )
        assert error_of(env.prompts, "train") == (
            f"environment.prompts: the prompt 'the cat the cat the cat the ca…' has {length} tokens and "
            "environment.max_prompt_tokens is 20. "
            "Fix: raise it, or set environment.on_long_prompt to drop or truncate_left."
        )

    def test_long_prompts_can_be_left_out(self, write, corpus, caplog):
        rows = [{"prompt": "the cat " * 30, "split": "train"}, {"prompt": "the cat", "split": "train"}]
        path = write("p.jsonl", rows)
        env = files(corpus=corpus, prompts=path, max_prompt_tokens=20, on_long_prompt="drop")
        assert env.prompts("train") == rows[1:]
        message = "environment.prompts (train): left out 1 of 2 rows with a prompt of more than 20 tokens"
        assert [record.getMessage() for record in caplog.records] == [message]

    def test_long_prompts_can_be_cut_from_the_left(self, write, corpus, caplog):
        prompt = "你好 " * 30 + "the dog sat on the log" * 9 + " last words 🙂"
        path = write("p.jsonl", [{"prompt": prompt, "split": "train"}])
        env = files(corpus=corpus, prompts=path, max_prompt_tokens=40, on_long_prompt="truncate_left")
        [row] = env.prompts("train")
        ids = env.build_tokenizer().encode(env.format_prompt(row["prompt"]), add_special_tokens=False)
        assert prompt.endswith(row["prompt"])
        assert 36 <= len(ids) <= 40
        assert (
            caplog.records[0]
            .getMessage()
            .endswith("cut from the left 1 of 1 rows with a prompt of more than 40 tokens")
        )

    def test_a_template_that_leaves_no_room(self, corpus):
        env = files(corpus=corpus)
        message = error_of(cut_left, "prompt", [5, 6, 7], env.build_tokenizer(), env.format_prompt, 2)
        assert message == (
            "environment.max_prompt_tokens: it leaves no room for a prompt, got 2. "
            "Fix: raise it, or shorten environment.template."
        )

    def test_vector_environment_reads_the_prompts_of_a_split(self, write, corpus):
        rows = [
            {"prompt": "the cat", "split": "train", "gold": 1},
            {"prompt": "the dog", "split": "validation"},
        ]
        env = files(corpus=corpus, prompts=write("p.jsonl", rows), max_new_tokens=3)
        envs = env.make_vec(2, split="train", reward=lambda episodes: [e.columns["gold"] for e in episodes])
        tokenizer = env.build_tokenizer()
        observation, _ = envs.reset(seed=0)
        prompt = tokenizer.encode("the cat\n\n", add_special_tokens=False)
        assert observation["tokens"][0, : observation["length"][0, 0]].tolist() == prompt
        assert observation["tokens"].shape == (2, len(prompt) + 3)
        eos = np.full(2, tokenizer.eos_token_id)
        _, rewards, terminated, _, _ = envs.step(eos)
        assert rewards.tolist() == [1.0, 1.0] and terminated.all()


class TestMistakes:
    def test_all_paths_still_to_be_given_are_named_before_any_work(self, corpus):
        assert error_of(files, corpus=corpus, demonstrations="", prompts="") == (
            "environment: no file is given for demonstrations, prompts. "
            "Fix: set environment.demonstrations=PATH (JSONL with prompt and response); "
            "set environment.prompts=PATH (JSONL with prompt; the demonstrations' file will do)."
        )

    def test_missing_files_are_found_before_any_work(self, corpus):
        assert error_of(files, comparisons=[corpus, "no.jsonl"]) == (
            "environment.comparisons: there is no such file, got 'no.jsonl'. Fix: check the path."
        )

    @pytest.mark.skipif(importlib.util.find_spec("datasets") is not None, reason="`datasets` is installed")
    def test_the_optional_package_is_missed_before_any_work(self):
        assert error_of(files, prompts="hf:someone/data") == (
            "environment.prompts: the optional package `datasets` is not installed, got 'hf:someone/data'. "
            "Fix: pip install 'rltk[datasets]'."
        )

    def test_a_bad_row_is_named_by_file_and_line(self, write):
        env = files(demonstrations=write("d.jsonl", [*demonstrations(1), {"prompt": "a"}]))
        message = error_of(env.demonstrations, "train")
        assert message.startswith("d.jsonl:2: column 'response' is missing.")

    def test_an_empty_split(self, write):
        env = files(prompts=write("p.jsonl", demonstrations(3)))
        assert error_of(env.prompts, "validation") == (
            "environment.prompts: nothing is left for the validation split. "
            "Fix: mark some with split: validation, or change validation_share."
        )

    def test_what_was_never_given(self):
        assert error_of(files().comparisons, "train") == (
            "environment.comparisons: no file is given. Fix: set environment.comparisons=PATH "
            "(JSONL with prompt, chosen and rejected, or prompt, responses and ranks)."
        )

    def test_template_without_a_place_for_the_prompt(self):
        with pytest.raises(ValidationError, match=r"it must hold \{prompt\}"):
            Files.Config(template="Question: ")


@pytest.mark.skipif("RLTK_DATA" not in os.environ, reason="RLTK_DATA names no folder of real data")
def test_real_files(caplog):
    """Thousands of real rows: long, multilingual, multi-turn; all are read, none is silently lost."""
    caplog.set_level(logging.WARNING)
    folder = Path(os.environ.get("RLTK_DATA", ""))
    env = files(
        corpus=str(folder / "corpus.txt.gz"),
        corpus_validation=str(folder / "corpus_validation.txt.gz"),
        demonstrations=str(folder / "demonstrations.jsonl.gz"),
        comparisons=[str(folder / "comparisons.jsonl.gz"), str(folder / "rankings.jsonl.gz")],
        prompts=str(folder / "prompts.jsonl.gz"),
        tokenizer_characters=1_000_000,
        vocab_size=1024,
        max_prompt_tokens=128,
        on_long_prompt="truncate_left",
        limits={"train": 500},
    )
    tokenizer = env.build_tokenizer()
    for rows in (env.demonstrations("train"), env.comparisons("train"), env.prompts("validation")):
        texts = [env.format_prompt(row["prompt"]) for row in rows]
        lengths = [len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]
        assert min(lengths) > 0 and 100 < max(lengths) <= 128
    assert {len(row["responses"]) for row in env.comparisons("train")} == {2, 4}
    assert len(caplog.records) == 3
