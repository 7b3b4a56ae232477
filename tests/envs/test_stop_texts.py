"""Stop texts: found in the last tokens as in the whole response, whatever the tokenizer."""

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from rltk_envs.stop_texts import StopTexts
from tests.text_world import word_tokenizer


def fast(model, pre_tokenizer, decoder):
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizer, decoder
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")


def byte_tokenizer():
    """One token a byte, and some that are several characters."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    whole = ["ab", "abc", ".\n\n".replace("\n", "Ċ"), "Q:"]
    vocabulary = {token: i for i, token in enumerate(["<pad>", "<eos>", *letters, *whole])}
    return fast(models.BPE(vocabulary, []), pre_tokenizers.ByteLevel(), decoders.ByteLevel())


def piece_tokenizer():
    """Pieces that go on a word, and spaces that are part of a piece."""
    pieces = ["a", "b", "##a", "##b", "##ab", ".", "!"]
    vocabulary = {token: i for i, token in enumerate(["<pad>", "<eos>", "[UNK]", *pieces])}
    model = models.WordPiece(vocabulary, unk_token="[UNK]")
    return fast(model, pre_tokenizers.Whitespace(), decoders.WordPiece(cleanup=True))


def space_tokenizer():
    pieces = ["▁a", "▁b", "a", "b", "ab", "▁"]
    vocabulary = {token: i for i, token in enumerate(["<pad>", "<eos>", "[UNK]", *pieces])}
    model = models.WordLevel(vocabulary, unk_token="[UNK]")
    return fast(model, pre_tokenizers.Metaspace(), decoders.Metaspace())


TOKENIZERS = {
    "words": (word_tokenizer, ("w0 w1", "w2", "w3 w1 w3")),
    "bytes": (byte_tokenizer, ("bc", "\n\nQ", "é", "aba", "🙂")),
    "pieces": (piece_tokenizer, ("ab", "a.", "b a", "bab!")),
    "spaces": (space_tokenizer, ("a b", "ab a", "bb", "b  a")),
}


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_stop_text_is_found_when_the_whole_response_first_holds_it(kind):
    make, texts = TOKENIZERS[kind]
    tokenizer = make()
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(300):
        chosen = tuple(rng.choice(texts, size=rng.integers(1, 3), replace=False))
        stop = StopTexts(chosen, tokenizer)
        alphabet = rng.choice(len(tokenizer), size=min(6, len(tokenizer)))
        spelled = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
        tokens = []
        for _ in range(int(rng.integers(1, 40))):
            tokens += (
                [int(rng.choice(alphabet))] if rng.random() < 0.9 else spelled[rng.integers(len(spelled))]
            )
        for end in range(1, len(tokens) + 1):
            text = tokenizer.decode(tokens[:end], skip_special_tokens=True)
            there = any(one in text for one in chosen)
            assert stop.end(np.array(tokens[:end])) == there, (chosen, text)
            if there:
                found += 1
                assert not any(one in stop.cut(text) for one in chosen)
                break
    assert found > 50


def test_only_a_tail_is_decoded(monkeypatch):
    tokenizer = byte_tokenizer()
    stop = StopTexts(("ab",), tokenizer)
    decoded = []
    decode = tokenizer.decode
    monkeypatch.setattr(tokenizer, "decode", lambda ids, **kw: decoded.append(len(ids)) or decode(ids, **kw))
    stop.end(np.full(5000, tokenizer.convert_tokens_to_ids("b")))
    assert decoded == [16]


def test_a_text_is_cut_at_the_first_of_several():
    stop = StopTexts(("\n", "Q:"), word_tokenizer())
    assert stop.cut("yes Q: no\n") == "yes "
    assert stop.cut("yes") == "yes"
    assert not StopTexts((), word_tokenizer())
