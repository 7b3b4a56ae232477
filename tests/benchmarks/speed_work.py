"""What the benchmark of speed measures: shapes of models, work on them, and the goals.

Imports nothing but the standard library, so that every environment of the benchmark can read it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

#: What rltk is compared with, as tables call it.
PEERS = {
    "generate": "`generate`, transformers 5.23",
    "trl_ppo": "PPOTrainer, TRL 1.12",
    "trl_rloo": "RLOOTrainer, TRL 1.16",
}
#: Ids 0 to 2 of every vocabulary are pad, EOS and unknown; the others are words.
SPECIAL = 3


@dataclass(frozen=True)
class Shape:
    """A model by its sizes.

    :param intermediate: width of the feed-forward layers.
    :param kv_heads: heads that share keys and values are fewer in Llama.
    :param tied: whether the LM head is the embedding matrix.
    """

    model_type: Literal["gpt2", "llama"]
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    intermediate: int
    vocabulary: int
    positions: int = 256
    tied: bool = True

    @property
    def trunk_parameters(self) -> int:
        """Entries of the matrices that every token is multiplied with, embeddings and LM head left out."""
        kv = self.hidden * self.kv_heads // self.heads
        attention = 2 * self.hidden * self.hidden + 2 * self.hidden * kv
        matrices = 2 if self.model_type == "gpt2" else 3
        return self.layers * (attention + matrices * self.hidden * self.intermediate)

    @property
    def head_parameters(self) -> int:
        """Entries of the LM head."""
        return self.hidden * self.vocabulary

    def options(self) -> dict[str, Any]:
        """Return the keys of the transformers config, without dropout."""
        if self.model_type == "gpt2":
            names = {"n_layer": self.layers, "n_embd": self.hidden, "n_head": self.heads}
            names |= {"n_inner": self.intermediate, "n_positions": self.positions}
            own: dict[str, Any] = {**names, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        else:
            own = {"num_hidden_layers": self.layers, "hidden_size": self.hidden}
            own |= {"num_attention_heads": self.heads, "num_key_value_heads": self.kv_heads}
            own |= {"intermediate_size": self.intermediate, "max_position_embeddings": self.positions}
        ids = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
        return {**own, **ids, "vocab_size": self.vocabulary, "tie_word_embeddings": self.tied}


def gpt2(
    layers: int, hidden: int, heads: int, vocabulary: int, positions: int = 256, tied: bool = True
) -> Shape:
    """Return a shape of GPT-2's kind."""
    return Shape("gpt2", layers, hidden, heads, heads, 4 * hidden, vocabulary, positions, tied)


SHAPES = {
    "gpt2-1m": gpt2(4, 128, 4, 1024),
    "gpt2-2m": gpt2(4, 192, 4, 1024),
    "gpt2-6m": gpt2(6, 256, 8, 4096),
    "gpt2-19m": gpt2(6, 512, 8, 1024),
    "gpt2-124m": gpt2(12, 768, 12, 50257, 1024),
    "llama-8m": Shape("llama", 8, 256, 8, 4, 688, 4096, tied=False),
    "llama-1b": Shape("llama", 16, 2048, 32, 8, 8192, 128256, 2048),
}


@dataclass(frozen=True)
class Work:
    """One line of the table.

    :param name: what ``--rows`` selects.
    :param kind: decode (collect responses), overhead (the same, split by who works), ppo and rloo (a whole
        iteration), update (one epoch of PPO on given responses).
    :param slots: environment slots; rows of a batch for ``generate``.
    :param episodes: responses in all.
    :param hazard: chance that a token is the last; 0: every response has ``new_tokens``.
    :param critic: what PPO learns values with.
    :param compile: whether rltk compiles the model for acting.
    :param group: answers to one prompt.
    :param peer: what it is compared with; None: nothing.
    :param peer_row: the line whose measurement of the peer counts here too; None: this one.
    :param goal: how many times faster than the peer, or for ``overhead`` the largest share of decode time.
    :param memory_goal: the largest share of the peer's memory; None: no goal.
    """

    name: str
    kind: Literal["decode", "overhead", "ppo", "rloo", "update"]
    shape: Shape
    slots: int = 64
    episodes: int = 64
    prompt_tokens: int = 16
    new_tokens: int = 48
    hazard: float = 0.0
    critic: Literal["separate", "detached_head", "none"] = "none"
    compile: bool = False
    group: int = 1
    epochs: int = 4
    minibatch: int = 64
    peer: str | None = None
    peer_row: str | None = None
    goal: float | None = None
    memory_goal: float | None = None

    def lengths(self) -> list[int]:
        """Return how many tokens each response has: drawn once, the same for both sides."""
        if not self.hazard:
            return [self.new_tokens] * self.episodes
        draw = random.Random(0)
        survive = math.log1p(-self.hazard)
        drawn = (1 + int(math.log(1.0 - draw.random()) / survive) for _ in range(self.episodes))
        return [min(length, self.new_tokens) for length in drawn]

    def prompts(self) -> list[list[int]]:
        """Return ids of the prompts, as many as there are episodes without groups."""
        draw = random.Random(1)
        words = range(SPECIAL, self.shape.vocabulary)
        return [draw.choices(words, k=self.prompt_tokens) for _ in range(self.episodes // self.group)]

    def quick(self) -> Work:
        """Return less of the same: two batches of ragged responses in place of more."""
        return replace(self, episodes=min(self.episodes, 2 * self.slots)) if self.hazard else self


def rows(device: str) -> list[Work]:
    """Return the table's lines for a kind of device, ``cpu`` or ``cuda``."""
    return _on_gpu() if device == "cuda" else [*_on_cpu(), *scaling()]


def _on_cpu() -> list[Work]:
    fixed = {"gpt2-1m": (64, 2.0), "llama-8m": (64, 1.4), "gpt2-124m": (32, 1.4)}
    ragged = {"gpt2-1m": 3.5, "llama-8m": 2.5, "gpt2-124m": 2.5}
    table = [
        Work(f"decode-fixed-{s}", "decode", SHAPES[s], slots, slots, peer="generate", goal=goal)
        for s, (slots, goal) in fixed.items()
    ]
    for s, goal in ragged.items():
        slots = fixed[s][0]
        drawn = Work(f"decode-ragged-{s}", "decode", SHAPES[s], slots, 8 * slots, new_tokens=64, hazard=0.04)
        table.append(replace(drawn, peer="generate", goal=goal))
    table += [
        replace(work, name=f"{work.name}-compiled", compile=True, peer_row=work.name)
        for work in table
        if work.shape == SHAPES["gpt2-1m"]
    ]
    for s, separate, detached in (("gpt2-1m", 2.5, 5.0), ("gpt2-6m", 2.0, 3.5)):
        ppo = Work(f"ppo-separate-{s}", "ppo", SHAPES[s], critic="separate", peer="trl_ppo", memory_goal=0.5)
        table.append(replace(ppo, goal=separate))
        # TRL has no such critic: the same run of it stands against both.
        shared = replace(ppo, name=f"ppo-detached-{s}", critic="detached_head", peer_row=ppo.name)
        table.append(replace(shared, goal=detached))
    table += [
        Work(f"rloo-{s}", "rloo", SHAPES[s], group=4, peer="trl_rloo", goal=2.5)
        for s in ("gpt2-1m", "gpt2-6m")
    ]
    return [*table, Work("overhead-llama-8m", "overhead", SHAPES["llama-8m"], goal=0.05)]


def _on_gpu() -> list[Work]:
    table = []
    for s in ("gpt2-124m", "llama-1b"):
        decode = Work(f"decode-fixed-{s}", "decode", SHAPES[s], new_tokens=256, compile=True, peer="generate")
        table += [decode, replace(decode, name=f"decode-ragged-{s}", episodes=512, hazard=0.02)]
        update = Work(f"update-{s}", "update", SHAPES[s], prompt_tokens=128, new_tokens=384, epochs=1)
        table.append(replace(update, critic="detached_head"))
    return table


def scaling() -> list[Work]:
    """Return work in which one size grows and all others stay: how the cost grows with it."""
    return [
        replace(work, name=f"scaling-{factor}-{value}")
        for factor, series in SCALING.items()
        for value, work in series.items()
    ]


def _series() -> Iterator[tuple[str, dict[int, Work]]]:
    base = gpt2(4, 128, 4, 1024)
    decode = Work("", "decode", base, slots=32, episodes=64, new_tokens=32)
    update = Work("", "update", base, episodes=64, epochs=1, critic="detached_head")
    yield "decode-tokens", {32 * n: replace(decode, episodes=n) for n in (64, 128, 256)}
    yield "decode-slots", {n: replace(decode, slots=n, episodes=256) for n in (8, 16, 32, 64, 128)}
    # Slots that never get a prompt are finished from the first step on.
    yield "decode-finished", {n: replace(decode, slots=32 + n, episodes=32) for n in (0, 32, 96, 224)}
    vocabularies = {n: replace(base, vocabulary=n) for n in (1024, 4096, 16384, 32768)}
    shapes = {s.trunk_parameters: s for s in (base, *(SHAPES[x] for x in ("gpt2-2m", "gpt2-19m")))}
    yield "decode-vocabulary", {n: replace(decode, shape=s) for n, s in vocabularies.items()}
    yield "decode-parameters", {n: replace(decode, shape=s) for n, s in shapes.items()}
    yield "update-tokens", {64 * n: replace(update, episodes=n) for n in (64, 128, 256)}
    yield "update-vocabulary", {n: replace(update, shape=s) for n, s in vocabularies.items()}
    yield "update-parameters", {n: replace(update, shape=s) for n, s in shapes.items()}


#: Factor -> its value -> the work.
SCALING = dict(_series())
