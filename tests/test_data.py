"""Reading JSONL, rankings and corpora: what is accepted, and the exact line for what is not."""

import gzip
import json
import sys
import types

import pytest

from rltk.data import (
    assigned_split,
    competition_ranks,
    read_demonstrations,
    read_documents,
    read_jsonl,
    read_prompts,
    read_rankings,
    read_texts,
)
from rltk.errors import UserError


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a file into the working directory, so that errors name it by its bare name."""
    monkeypatch.chdir(tmp_path)

    def write(content, name="rows.jsonl"):
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return name

    return write


def error_of(read, *arguments):
    with pytest.raises(UserError) as caught:
        result = read(*arguments)
        list(result)
    return str(caught.value)


class TestReadJsonl:
    def test_reads_objects_crlf_bom_and_blank_lines(self, write):
        path = write(b'\xef\xbb\xbf{"a": 1}\r\n\r\n{"b": "\xc3\xbc"}\n')
        assert read_jsonl(path) == [{"a": 1}, {"b": "ü"}]

    def test_reads_gzip_whatever_its_name(self, write):
        path = write(gzip.compress(b'{"a": 1}\n{"a": 2}'), "rows.dat")
        assert read_jsonl(path) == [{"a": 1}, {"a": 2}]

    def test_unicode_line_separators_stay_inside_a_row(self, write):
        path = write('{"a": "one\u2028two\u0085three"}\n')
        assert read_jsonl(path) == [{"a": "one\u2028two\u0085three"}]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (
                '{"a": 1}\n{"a": "trunc',
                "rows.jsonl:2:7: not JSON: Unterminated string starting at, got '\"trunc'. "
                "Fix: write one JSON object a line.",
            ),
            (
                '{"a": 1 "b": 2}',
                "rows.jsonl:1:9: not JSON: Expecting ',' delimiter, got '\"b\": 2}'. "
                "Fix: write one JSON object a line.",
            ),
            (
                '\ufeff{"a" 1}',
                "rows.jsonl:1:6: not JSON: Expecting ':' delimiter, got '1}'. "
                "Fix: write one JSON object a line.",
            ),
            (
                '{"ü": "NaN", "b": [1, NaN]}',
                "rows.jsonl:1:23: not JSON: NaN is not a JSON value, got 'NaN]}'. "
                "Fix: write one JSON object a line.",
            ),
            (
                '{"a": -Infinity}',
                "rows.jsonl:1:7: not JSON: -Infinity is not a JSON value, got '-Infinity}'. "
                "Fix: write one JSON object a line.",
            ),
            (
                '{"a":',
                "rows.jsonl:1:6: not JSON: Expecting value, got 'the end of the line'. "
                "Fix: write one JSON object a line.",
            ),
            (
                b'{"a": 1}\n{"\xc3\xbc": "\xff"}',
                "rows.jsonl:2:8: this byte is not UTF-8, got b'\\xff'. Fix: save the file as UTF-8.",
            ),
            (
                '{"a": 1}\n[1, 2]\n',
                "rows.jsonl:2: this line is no JSON object, got [1, 2]. Fix: write one object a line.",
            ),
            ("", "rows.jsonl: there are no rows in it. Fix: give a file with one JSON object a line."),
            ("\n \n", "rows.jsonl: there are no rows in it. Fix: give a file with one JSON object a line."),
        ],
    )
    def test_bad_content_is_named_by_line_and_column(self, write, content, message):
        assert error_of(read_jsonl, write(content)) == message

    def test_deep_nesting_and_endless_integers_are_no_crash(self, write):
        assert error_of(read_jsonl, write('{"a": ' + "[" * 200_000)).startswith("rows.jsonl:1:1: not JSON: ")
        assert error_of(read_jsonl, write('{"a": ' + "9" * 9_000 + "}")).startswith(
            "rows.jsonl:1:1: not JSON: "
        )

    def test_missing_file(self, write, tmp_path):
        assert error_of(read_jsonl, "no.jsonl") == "no.jsonl: there is no such file. Fix: check the path."

    def test_folder(self, tmp_path):
        message = (
            f"{tmp_path}: the file cannot be read (Is a directory). Fix: give the path of a readable file."
        )
        assert error_of(read_jsonl, tmp_path) == message

    def test_gzip_cut_short(self, write):
        whole = gzip.compress(b"".join(b'{"a": %d}\n' % i for i in range(3)))
        message = error_of(read_jsonl, write(whole[:-10], "cut.jsonl.gz"))
        assert message.startswith("cut.jsonl.gz: the gzip data are damaged after line ")
        assert message.endswith("Fix: copy or compress the file again.")


class TestColumns:
    def test_further_columns_stay(self, write):
        row = {"prompt": "p", "response": "r", "split": "val", "source": "x"}
        assert read_demonstrations(write(json.dumps(row))) == [row | {"split": "validation"}]
        assert read_prompts(write(json.dumps(row))) == [row | {"split": "validation"}]

    def test_renamed_columns(self, write):
        path = write('{"question": "p", "answer": "r"}')
        rows = read_demonstrations(path, {"prompt": "question", "response": "answer"})
        assert [(row["prompt"], row["response"]) for row in rows] == [("p", "r")]

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            (
                {"promt": "a", "response": "b"},
                "rows.jsonl:2: column 'prompt' is missing. "
                "Fix: add it, or say in environment.columns which column it is (did you mean 'promt').",
            ),
            (
                {"prompt": "a", "question": "b"},
                "rows.jsonl:2: column 'response' is missing. "
                "Fix: add it, or say in environment.columns which column it is "
                "(choose one of prompt, question).",
            ),
            (
                {"prompt": 3, "response": "b"},
                "rows.jsonl:2: column 'prompt' must be text, got 3. Fix: write it as a JSON string.",
            ),
            (
                {"prompt": "a", "response": [{"role": "assistant", "content": "a long answer follows here"}]},
                "rows.jsonl:2: column 'response' must be text, "
                "got \"[{'role': 'assistant', 'content': 'a lon…\". "
                "Fix: write it as a JSON string.",
            ),
            (
                {"prompt": "a\ud83d", "response": "b"},
                "rows.jsonl:2: column 'prompt' has an unpaired surrogate, got '\\ud83d'. "
                "Fix: remove it: it is half of a character that was cut in two.",
            ),
            (
                {"prompt": "a", "response": "b", "split": "holdout"},
                "rows.jsonl:2: column 'split' names no known split, got 'holdout'. "
                "Fix: write one of train, validation, test, or choose one split with hf:ID#SPLIT.",
            ),
        ],
    )
    def test_bad_columns_are_named_with_their_line(self, write, row, message):
        good = {"prompt": "a", "response": "b"}
        path = write(f"{json.dumps(good)}\n{json.dumps(row)}\n")
        assert error_of(read_demonstrations, path) == message


class TestRankings:
    def ranks(self, write, **row):
        [read] = read_rankings(write(json.dumps({"prompt": "p", **row})))
        return read["ranks"]

    def test_comparison_is_a_ranking_of_two(self, write):
        path = write('{"prompt": "p", "chosen": "good", "rejected": "bad", "source": "s"}')
        expected = {"prompt": "p", "source": "s", "responses": ["good", "bad"], "ranks": [1, 2]}
        assert read_rankings(path) == [expected]

    def test_indices_best_first_become_ranks(self, write):
        assert self.ranks(write, responses=list("abcd"), ranking=[3, 0, 2, 1]) == [2, 4, 3, 1]

    def test_any_numbers_become_ranks_with_ties(self, write):
        assert self.ranks(write, responses=list("abcd"), ranks=[2.5, 7, 2.5, 1]) == [2, 4, 2, 1]

    def test_ties_come_from_ranks_where_both_are_given(self, write):
        assert self.ranks(write, responses=list("abc"), ranks=[1, 1, 3], ranking=[1, 0, 2]) == [1, 1, 3]

    def test_equal_responses_are_tied_at_their_mean_rank(self, write):
        # a: (1 + 4) / 2 = 2.5 between b (2) and c (3), so b is best and both a follow.
        assert self.ranks(write, responses=["a", "b", "c", "a"], ranks=[1, 2, 3, 4]) == [2, 1, 4, 2]
        assert self.ranks(write, chosen="same", rejected="same") == [1, 1]

    def test_competition_ranks(self):
        assert competition_ranks([0.3, 0.1, 0.3, 0.9]) == [2, 1, 2, 4]

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            (
                {"responses": ["a", "b"], "ranks": [1]},
                "column 'ranks' has 1 entries for 2 responses. Fix: give every response exactly one.",
            ),
            (
                {"responses": ["a", "b"], "ranking": [0, 1, 2]},
                "column 'ranking' has 3 entries for 2 responses. Fix: give every response exactly one.",
            ),
            (
                {"responses": ["a"], "ranks": [1]},
                "a ranking needs at least 2 responses, got 1. Fix: drop the row or add responses.",
            ),
            (
                {"responses": "ab", "ranks": [1, 2]},
                "column 'responses' must be a list of texts, got 'ab'. Fix: correct the row.",
            ),
            (
                {"responses": ["a", None], "ranks": [1, 2]},
                "response 1 must be text, got 'null'. Fix: write it as a JSON string.",
            ),
            (
                {"responses": ["a", "b"], "ranks": [1, "2"]},
                "column 'ranks' must hold numbers, got '2'. Fix: correct the row.",
            ),
            (
                {"responses": ["a", "b"], "ranks": [1, True]},
                "column 'ranks' must hold numbers, got True. Fix: correct the row.",
            ),
            (
                {"responses": ["a", "b"], "ranks": 1},
                "column 'ranks' must be a list of numbers, got 1. Fix: correct the row.",
            ),
            (
                {"responses": ["a", "b", "c"], "ranking": [0, 1, 1]},
                "column 'ranking' must name every response once, by its index from 0, got [0, 1, 1]. "
                "Fix: correct the row.",
            ),
            (
                {"responses": ["a", "b"], "ranking": [1, 2]},
                "column 'ranking' must name every response once, by its index from 0, got [1, 2]. "
                "Fix: correct the row.",
            ),
            (
                {"responses": ["a", "b"], "ranks": [1, 2], "ranking": [1, 0]},
                "columns 'ranks' and 'ranking' contradict each other. "
                "Fix: correct one of them, or drop 'ranking'.",
            ),
            (
                {"responses": ["a", "b"]},
                "column 'ranks' or 'ranking' is missing. "
                "Fix: add 'ranks' (1 = best, equal = tie) or 'ranking' (indices from 0, best first).",
            ),
            (
                {"chosen": "a"},
                "column 'rejected' is missing. Fix: add it, or say in environment.columns which column it is "
                "(choose one of chosen, prompt).",
            ),
        ],
    )
    def test_bad_rankings_are_named_with_their_line(self, write, row, message):
        path = write('{"prompt": "p", "chosen": "a", "rejected": "b"}\n' + json.dumps({"prompt": "p", **row}))
        assert error_of(read_rankings, path) == f"rows.jsonl:2: {message}"

    def test_a_rank_that_overflows_a_float(self, write):
        path = write('{"prompt": "p", "responses": ["a", "b"], "ranks": [1, 1' + "0" * 400 + "]}")
        assert "column 'ranks' must hold numbers" in error_of(read_rankings, path)


class TestSplits:
    def test_marked_rows_keep_their_split(self):
        assert assigned_split({"prompt": "p", "split": "test"}, 0.5) == "test"

    def test_the_draw_follows_the_first_eight_bytes_of_sha256(self):
        # printf p | sha256sum begins 148de9c5a7a44d19, that is 0.0803 of the largest 64-bit number.
        assert assigned_split({"prompt": "p"}, 0.081) == "validation"
        assert assigned_split({"prompt": " p\n", "other": 1}, 0.081) == "validation"
        assert assigned_split({"prompt": "p"}, 0.080) == "train"

    def test_the_share_is_about_as_asked(self):
        drawn = [assigned_split({"prompt": f"prompt {i}"}, 0.1) for i in range(5000)]
        assert 0.085 < drawn.count("validation") / 5000 < 0.115


class TestDocuments:
    def test_separator_on_its_own_line_or_inside_one(self, write):
        path = write("one\n1\n<|end|>\ntwo<|end|>three\n\n<|end|>\n  \n<|end|>\nfour\n")
        assert list(read_documents(path, "<|end|>")) == ["one\n1", "two", "three", "four"]

    def test_gzipped(self, write):
        path = write(gzip.compress(b"one\n---\ntwo"), "corpus.txt.gz")
        assert list(read_documents(path, "---")) == ["one", "two"]

    def test_reads_no_further_than_asked(self, write):
        path = write(b"one\n---\ntwo\n---\n\xff\n")
        documents = read_documents(path, "---")
        assert [next(documents), next(documents)] == ["one", "two"]
        message = "rows.jsonl:5:1: this byte is not UTF-8, got b'\\xff'. Fix: save the file as UTF-8."
        assert error_of(lambda: documents) == message

    def test_nothing_but_separators(self, write):
        message = "rows.jsonl: there is no text in it. Fix: give a file with at least one document."
        assert error_of(read_documents, write("---\n---\n"), "---") == message

    def test_texts_of_jsonl(self, write):
        assert list(read_texts(write('{"text": "a"}\n{"text": "b"}'))) == ["a", "b"]


class TestHub:
    @pytest.fixture
    def hub(self, monkeypatch):
        """Stand in for the optional package: what it is asked for, and two splits of rows."""
        splits = {"train": [{"prompt": "a"}], "validation": [{"prompt": "b"}, {"prompt": "c"}]}

        def load_dataset(name, split=None):
            if name != "someone/data":
                raise FileNotFoundError(f"Dataset {name!r} doesn't exist\nsecond line")
            return splits[split] if split else splits

        monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))

    def test_all_splits(self, hub):
        read = [(row["prompt"], row["split"]) for row in read_prompts("hf:someone/data")]
        assert read == [("a", "train"), ("b", "validation"), ("c", "validation")]

    def test_one_split(self, hub):
        assert read_prompts("hf:someone/data#validation") == [{"prompt": "b"}, {"prompt": "c"}]

    def test_missing_column_names_split_and_row(self, hub):
        message = error_of(read_demonstrations, "hf:someone/data")
        assert message.startswith("hf:someone/data#train:1: column 'response' is missing.")

    def test_unknown_dataset(self, hub):
        assert error_of(read_prompts, "hf:no/data") == (
            "hf:no/data: the dataset cannot be loaded (Dataset 'no/data' doesn't exist). "
            "Fix: check the id, the split and the connection."
        )

    def test_without_the_optional_package(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "datasets", None)
        assert error_of(read_prompts, "hf:someone/data") == (
            "hf:someone/data: the optional package `datasets` is not installed. "
            "Fix: pip install 'rltk[datasets]'."
        )
