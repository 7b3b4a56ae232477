"""One token a word of a closed vocabulary."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import PreTrainedTokenizerFast

PAD, EOS, UNK = "<pad>", "<eos>", "<unk>"


def build_tokenizer(words: Iterable[str], space: str = " ") -> PreTrainedTokenizerFast:
    """Return the tokenizer: ids 0, 1 and 2 are pad, EOS and unknown, the words follow in their order.

    :param space: what stands between two words; empty: nothing, and every word is a character.
    """
    vocabulary = {word: index for index, word in enumerate(dict.fromkeys([PAD, EOS, UNK, *words]))}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=UNK))
    if space:
        tokenizer.pre_tokenizer = Split(Regex(space), behavior="removed")
    else:
        tokenizer.pre_tokenizer = Split(Regex(r"[\s\S]"), behavior="isolated")
        tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNK,
        padding_side="right",
        clean_up_tokenization_spaces=False,
    )
