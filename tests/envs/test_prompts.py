"""Prompts come as texts, token ids or rows, in lists, files and data sets."""

import json

import numpy as np
import pytest

from rltk.errors import UserError
from rltk_envs.prompts import read_prompts
from tests.text_world import word_tokenizer


def read(prompts, template="{prompt}", max_tokens=None):
    return read_prompts(prompts, word_tokenizer(), template=template, max_tokens=max_tokens)


class Table:
    """Rows by index, with nothing else that a list has."""

    def __init__(self, rows):
        self._rows = rows

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, index):
        return dict(self._rows[index])


ROWS = [{"prompt": "w0 w1", "gold": "w2"}, {"prompt": "w3", "gold": "w4"}]


def test_texts_token_ids_and_rows():
    text, ids, array, row, id_row = read(
        ["w0 w1", [3, 4], np.array([3, 4]), ROWS[0], {"prompt": [3, 4], "k": 1}]
    )
    assert {prompt.tokens for prompt in (text, ids, array, row, id_row)} == {(3, 4)}
    assert {prompt.text for prompt in (text, ids, array, row, id_row)} == {"w0 w1"}
    assert (text.columns, row.columns, id_row.columns) == ({}, {"gold": "w2"}, {"k": 1})
    assert row.row == ROWS[0]


def test_a_file_and_a_table_are_read_as_their_rows(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    assert read(path) == read(str(path)) == read(Table(ROWS)) == read(ROWS)


def test_the_template_is_around_texts_and_not_around_token_ids():
    text, ids = read(["w0", [3]], template="w5 {prompt} w6")
    assert (text.tokens, ids.tokens) == ((8, 3, 9), (3,))


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(UserError, match=r"nowhere\.jsonl"):
        read("nowhere.jsonl")


def test_a_row_without_a_prompt_is_named():
    with pytest.raises(UserError, match=r"prompts\[1\]: there is no prompt in the row, got \['text'\]"):
        read([{"prompt": "w0"}, {"text": "w1"}])
