"""The tokenizer: one token per word, nothing lost."""

from transformers import AutoTokenizer

from rltk_envs.instruct.corpus import Corpus
from rltk_envs.instruct.tokenizer import build_tokenizer
from rltk_envs.instruct.vocabulary import all_words


def test_every_word_is_one_token_and_special_tokens_are_apart():
    tokenizer = build_tokenizer()
    assert 300 <= len(tokenizer) <= 600
    assert len({tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id}) == 3
    for word in all_words():
        assert len(tokenizer(word, add_special_tokens=False).input_ids) == 1
    assert tokenizer("zebra", add_special_tokens=False).input_ids == [tokenizer.unk_token_id]


def test_decoding_restores_the_corpus_and_loading_changes_nothing(tmp_path):
    tokenizer = build_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    for document in Corpus(0, "train").documents(200):
        ids = tokenizer(document, add_special_tokens=False).input_ids
        assert tokenizer.decode(ids) == document
        assert len(ids) == len(document.split(" "))
        assert tokenizer.unk_token_id not in ids
        assert loaded(document, add_special_tokens=False).input_ids == ids


def test_newline_is_a_word_and_eos_can_be_skipped():
    tokenizer = build_tokenizer()
    ids = tokenizer("name two colours . \n red , blue", add_special_tokens=False).input_ids
    assert tokenizer.convert_ids_to_tokens(ids)[4] == "\n"
    assert tokenizer.decode([*ids, tokenizer.eos_token_id], skip_special_tokens=True).endswith("red , blue")


def test_vocabulary_has_no_word_twice():
    words = all_words()
    assert len(words) == len(set(words))
    assert words == sorted(words)
