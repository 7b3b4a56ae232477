"""One token a word: a fast tokenizer over the words of the world."""

from __future__ import annotations

from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import PreTrainedTokenizerFast

from rltk_envs.instruct.vocabulary import all_words

PAD, EOS, UNK = "<pad>", "<eos>", "<unk>"


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Return the tokenizer; words are what single spaces separate, so a newline is a word of its own.

    Decoding what was encoded gives the same text, as long as every word is in the vocabulary.
    """
    vocabulary = {word: index for index, word in enumerate([PAD, EOS, UNK, *all_words()])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=UNK))
    tokenizer.pre_tokenizer = Split(Regex(" "), behavior="removed")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNK,
        padding_side="right",
        clean_up_tokenization_spaces=False,
    )
