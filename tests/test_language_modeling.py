"""Packing, labels and token losses against values worked out by hand or with NumPy."""

import math

import numpy as np
import pytest
import torch

from rltk.errors import UserError
from rltk.language_modeling import (
    IGNORED,
    Example,
    corpus_loss,
    corpus_parts,
    count_targets,
    encode_demonstrations,
    example_parts,
    mean_nll,
    pack_documents,
    response_batch,
    separate_documents,
    token_nll,
)
from tests.text_world import tiny_model, word_tokenizer

PAD, EOS = 0, 1


def log_softmax(logits):
    logits = np.asarray(logits, dtype=np.float64)
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def expected_nll(model, row, first_target):
    """Return the summed loss of one unpadded row, from its logits in NumPy."""
    with torch.no_grad():
        logprobs = log_softmax(model(torch.tensor([row])).logits[0].numpy())
    return -sum(logprobs[position - 1, row[position]] for position in range(max(first_target, 1), len(row)))


def test_documents_are_joined_with_eos_and_cut_into_rows():
    rows = pack_documents(["w0 w1", "w2", "w3 w4 w5"], word_tokenizer(), 4)
    assert rows.tolist() == [[3, 4, EOS, 5], [EOS, 6, 7, 8], [EOS, PAD, PAD, PAD]]


def test_packing_stops_at_the_token_budget():
    endless = iter(lambda: "w0 w1 w2", None)
    assert pack_documents(endless, word_tokenizer(), 3, max_tokens=6).tolist() == [[3, 4, 5], [EOS, 3, 4]]
    assert pack_documents([], word_tokenizer(), 3).shape == (0, 3)


def test_only_the_response_and_its_eos_are_learnt():
    tokens, labels = response_batch([Example([3, 4, 5, EOS], 2), Example([6, EOS], 1)], PAD)
    assert tokens.tolist() == [[3, 4, 5, EOS], [6, EOS, PAD, PAD]]
    assert labels.tolist() == [[IGNORED, IGNORED, 5, EOS], [IGNORED, EOS, IGNORED, IGNORED]]
    assert count_targets(labels) == 3


def test_a_first_token_has_nothing_before_it_and_is_no_target():
    _, labels = response_batch([Example([3, 4, EOS], 0)], PAD)
    assert count_targets(labels) == 2


def test_demonstrations_become_prompt_response_and_eos():
    rows = [
        {"prompt": "w0", "response": "w1 w2"},
        {"prompt": " ", "response": "w1"},
        {"prompt": "w1", "response": ""},
        {"prompt": "w2", "response": "w0"},
    ]
    examples, counts = encode_demonstrations(rows, word_tokenizer(), lambda p: f"{p} w28", max_length=8)
    assert examples == [Example([3, 31, 4, 5, EOS], 2), Example([5, 31, 3, EOS], 2)]
    assert counts == {"empty": 2, "dropped": 0, "truncated": 0}


def test_a_long_demonstration_is_an_error_that_names_the_row_or_counted():
    rows = [
        {"prompt": "w0", "response": "w1"},
        {"prompt": "", "response": "w1"},
        {"prompt": "w0 w1", "response": "w2 w3 w4"},
        {"prompt": "w0 w1 w2 w3 w4", "response": "w5"},
    ]

    def encode(on_long):
        return encode_demonstrations(
            rows, word_tokenizer(), str, max_length=4, on_long=on_long, where="train demonstrations"
        )

    with pytest.raises(UserError, match=r"^train demonstrations: row 2 is too long, got '6 tokens'"):
        encode("error")
    examples, counts = encode("drop")
    assert [len(example.tokens) for example in examples] == [3]
    assert counts == {"empty": 1, "dropped": 2, "truncated": 0}
    examples, counts = encode("truncate")
    assert examples[1] == Example([3, 4, 5, 6], 2)
    assert counts == {"empty": 1, "dropped": 1, "truncated": 1}


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_padded_token_loss_is_the_sum_over_unpadded_rows(kind):
    model = tiny_model(kind)
    examples = [Example([3, 9, 12, 7, EOS], 2), Example([4, EOS], 1), Example([8, 8, 30, 2, 11, 17, EOS], 3)]
    expected = sum(expected_nll(model, example.tokens, example.prompt_length) for example in examples)
    loss = token_nll(model, *response_batch(examples, PAD))
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert mean_nll(model, example_parts(examples, PAD, 7)) == pytest.approx(expected / 8, rel=1e-5)


def test_corpus_loss_is_the_mean_over_all_targets_however_it_is_cut():
    model = tiny_model()
    rows = pack_documents([f"w{i} w{i + 3} w{2 * i}" for i in range(14)], word_tokenizer(), 5)
    unpadded = [[token for token in row if token != PAD] for row in rows.tolist()]
    expected = sum(expected_nll(model, row, 1) for row in unpadded) / sum(len(row) - 1 for row in unpadded)
    for size in (5, 12, 1000):
        loss = corpus_loss(model, rows, pad_token_id=PAD, micro_batch_tokens=size)
        assert loss == pytest.approx(expected, rel=1e-5)


def test_a_model_that_knows_nothing_loses_log_v():
    model = tiny_model()
    torch.nn.init.zeros_(model.get_output_embeddings().weight)
    rows = pack_documents(["w0 w1 w2 w3"], word_tokenizer(), 5)
    assert corpus_loss(model, rows, pad_token_id=PAD) == pytest.approx(math.log(32), rel=1e-6)


def test_separate_documents_have_a_row_each_with_their_own_eos() -> None:
    tokenizer = word_tokenizer()
    rows = separate_documents(["w0 w1", "w2 w3 w4 w5 w6", ""], tokenizer, 4)
    assert rows.tolist() == [[3, 4, 1, 0], [5, 6, 7, 8], [1, 0, 0, 0]]
    assert separate_documents([], tokenizer, 4).shape == (0, 4)


def test_corpus_parts_leave_out_columns_that_are_all_padding() -> None:
    rows = torch.tensor([[3, 4, 1, 0, 0], [5, 1, 0, 0, 0]])
    [(tokens, labels)] = corpus_parts(rows, 0, 100)
    assert tokens.tolist() == [[3, 4, 1], [5, 1, 0]]
    assert labels.tolist() == [[3, 4, 1], [5, 1, -100]]
