"""The dialogue world's words, and the dialogues drawn from them."""

from __future__ import annotations

from random import Random

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

from rltk.interfaces import Row, Split
from rltk.rng import derive_seed
from rltk_envs.dialogue_customer import Customer

PAD, EOS = "<pad>", "<eos>"
_NAMES = ("ann", "ben", "cleo", "dan", "eva", "finn", "gus", "hal", "ida", "jon", "kim", "lea", "max", "nora")
_THINGS = ("tea", "coffee", "water", "milk", "juice", "bread", "cake", "pie", "soup", "toast", "jam", "fruit")
_WORDS = ("customer", "clerk", ":", "hello", ",", "i", "am", ".", "please", "yes", "no", "and")
_QUESTION_WORDS = ("how", "much", "is", "that", "in", "all", "?", "who")
_LARGEST = 4
_ORDERS = (2, 3)
_NUMBERS = tuple(str(number) for number in range(_LARGEST * max(_ORDERS) + 1))


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Return the word-level tokenizer."""
    words = [PAD, EOS, *_WORDS, *_QUESTION_WORDS, *_NUMBERS, *_NAMES, *_THINGS]
    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=EOS, clean_up_tokenization_spaces=False
    )


def draw_dialogue(rng: Random, split: Split) -> Row:
    """Return a dialogue of ``split``: what the customer says first as the prompt, the rest in columns."""
    while True:
        name, things = rng.choice(_NAMES), rng.sample(_THINGS, rng.choice(_ORDERS))
        orders = [(rng.randint(1, _LARGEST), thing) for thing in things]
        prompt = f"hello , i am {name} . {orders[0][0]} {orders[0][1]} please"
        if _split_of(prompt) == split:
            break
    asked = rng.choice(orders)
    questions = {
        "how much is that in all ?": str(sum(count for count, _ in orders)),
        f"how much {asked[1]} is that ?": str(asked[0]),
        "who am i ?": name,
    }
    question = rng.choice(sorted(questions))
    told = {"orders": [list(order) for order in orders], "question": question}
    return {"prompt": prompt, **told, "answer": questions[question]}


def demonstrate(row: Row, rng: Random, *, careless_share: float) -> list[Row]:
    """Return a row for each turn of a clerk: the dialogue up to it as the prompt, and what the clerk says.

    :param careless_share: how often the clerk gets a word wrong.
    """
    customer, heard, rows, turns = Customer(row), row["prompt"], list[Row](), list[list[str]]()
    while not customer.left:
        said = customer.expected if rng.random() >= careless_share else _mistaken(customer.expected, rng)
        rows.append({**row, "prompt": heard, "turns": list(turns), "response": said})
        reply = customer.reply(said) or ""
        turns.append([said, reply])
        heard = f"{heard} clerk : {said} {EOS} {reply}".removesuffix(" clerk :")
    return rows


def _mistaken(said: str, rng: Random) -> str:
    """Return what was said with another number, thing or name in place of one."""
    words = said.split()
    place = rng.randrange(len(words))
    alike = next(kind for kind in (_NUMBERS, _THINGS, _NAMES) if words[place] in kind)
    words[place] = rng.choice([word for word in alike if word != words[place]])
    return " ".join(words)


def _split_of(prompt: str) -> Split:
    splits: dict[int, Split] = {0: "validation", 1: "test"}
    return splits.get(derive_seed("dialogue", prompt) % 10, "train")
