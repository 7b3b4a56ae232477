"""A byte-level BPE tokenizer trained on a corpus: any text can be written in it, and comes back unchanged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from rltk.errors import UserError

PAD_TOKEN = "<|pad|>"
EOS_TOKEN = "<|endoftext|>"
#: Below this there is no room for the 256 bytes and the two special tokens.
SMALLEST_VOCABULARY = 258


def train_byte_level_bpe(
    documents: Iterable[str], *, vocab_size: int, max_characters: int, where: str = "tokenizer"
) -> PreTrainedTokenizerFast:
    """Train byte-level BPE (Sennrich et al. 2016, over bytes as in GPT-2) and wrap it for transformers.

    The same documents give the same tokenizer. Special tokens are never read out of text: a document that
    spells ``<|endoftext|>`` is tokenised letter by letter.

    :param documents: read until ``max_characters`` are there.
    :param vocab_size: tokens in all, two special ones and 256 bytes among them; fewer where the documents
        have no further pairs to merge.
    :param where: what to blame in the error.
    :raises UserError: there is no text to train on.
    """
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD_TOKEN, EOS_TOKEN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = list(_up_to(documents, max_characters))
    if not texts:
        raise UserError(
            where, "there is no text to train a tokenizer on", fix="give a corpus with text in it"
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD_TOKEN,
        eos_token=EOS_TOKEN,
        clean_up_tokenization_spaces=False,
        split_special_tokens=True,
    )


def _up_to(documents: Iterable[str], max_characters: int) -> Iterator[str]:
    left = max_characters
    for document in documents:
        yield document[:left]
        left -= len(document)
        if left <= 0:
            return
