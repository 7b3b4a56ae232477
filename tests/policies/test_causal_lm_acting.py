"""The session of a language model: its cache under growing, refilled, finished and equal texts."""

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from rltk.errors import UserError
from rltk.rng import EpisodeStream, numpy_generator, seeded_initialisation
from rltk_policies.causal_lm import products
from rltk_policies.causal_lm import session as session_module
from rltk_policies.causal_lm.blocks import trunk_of
from rltk_policies.causal_lm.policy import CausalLMPolicy
from tests.text_world import tiny_model, word_tokenizer

V = len(word_tokenizer())
KINDS = ["gpt2", "llama", "qwen2", "qwen3", "mistral", "gpt_neox"]


def small_model(kind, **options):
    if kind in ("gpt2", "llama"):
        return tiny_model(kind)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
    heads = {} if kind in ("gpt_neox", "bloom") else {"num_key_value_heads": 2, "head_dim": 4}
    config = AutoConfig.for_model(
        kind, vocab_size=V, max_position_embeddings=48, **(sizes | heads | options), pad_token_id=0
    )
    with seeded_initialisation("small", kind):
        model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(8.0)
    return model.eval()


def make_policy(kind="llama", model=None, **options):
    model = small_model(kind) if model is None else model
    return CausalLMPolicy(CausalLMPolicy.Config(**options), model=model, tokenizer=word_tokenizer())


class World:
    """Texts in slots, acted on without an environment."""

    def __init__(self, policy, texts, width=48):
        self.texts, self.width = [list(text) for text in texts], width
        self.session = policy.session(len(texts))
        self.episodes = np.arange(len(texts))
        self.positions = np.zeros(len(texts), dtype=np.int64)

    def act(self, active=None, **options):
        tokens = np.zeros((len(self.texts), self.width), dtype=np.int64)
        for row, text in zip(tokens, self.texts, strict=True):
            row[: len(text)] = text
        length = np.array([[len(text)] for text in self.texts])
        active = np.ones(len(self.texts), dtype=bool) if active is None else np.array(active)
        stream = EpisodeStream(0, self.episodes, self.positions.copy())
        action = self.session.act(
            {"tokens": tokens, "length": length}, stream=stream, active=active, **options
        )
        self.positions[active] += 1
        return action

    def refill(self, slot, text):
        self.texts[slot], self.positions[slot] = list(text), 0
        self.episodes[slot] = self.episodes.max() + 1


def words(generator, fewest, most):
    return generator.integers(3, V, generator.integers(fewest, most + 1)).tolist()


def next_logprobs(model, texts, side):
    """Log-probabilities after each text in one plain pass of a batch that is padded on one side."""
    width = max(map(len, texts))
    tokens = torch.zeros(len(texts), width, dtype=torch.int64)
    mask = torch.zeros_like(tokens)
    for row, text in enumerate(texts):
        place = slice(width - len(text), width) if side == "left" else slice(0, len(text))
        tokens[row, place], mask[row, place] = torch.tensor(text), 1
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        logits = model(tokens, attention_mask=mask, position_ids=positions).logits
    last = torch.tensor([width - 1 if side == "left" else len(text) - 1 for text in texts])
    return logits[torch.arange(len(texts)), last].log_softmax(-1)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("kind", KINDS)
def test_logprobs_under_growth_refills_and_pauses_equal_a_plain_pass(kind, side):
    policy, generator = make_policy(kind), numpy_generator("growth", kind)
    world = World(policy, [words(generator, 1, 9) for _ in range(5)])
    for _ in range(25):
        active = generator.random(5) < 0.8
        active[int(generator.integers(5))] = True
        action = world.act(active)
        slots = np.flatnonzero(active)
        expected = next_logprobs(policy.model, [world.texts[slot] for slot in slots], side)
        chosen = action.actions[slots]
        torch.testing.assert_close(
            action.logprobs[slots], expected.gather(1, chosen[:, None])[:, 0], atol=1e-5, rtol=0
        )
        for slot in slots:
            # what is said, and sometimes what somebody answers
            world.texts[slot] += [int(action.actions[slot]), *words(generator, 0, 4)]
            if len(world.texts[slot]) > 40 or generator.random() < 0.1:
                world.refill(slot, words(generator, 1, 9))


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_acting_equals_generate(kind):
    policy, generator = make_policy(kind), numpy_generator("greedy", kind)
    texts = [words(generator, 1, 9) for _ in range(4)]
    world = World(policy, texts)
    for _ in range(12):
        action = world.act(deterministic=True)
        for slot in range(4):
            world.texts[slot].append(int(action.actions[slot]))
    for text, acted in zip(texts, world.texts, strict=True):
        prompt = torch.tensor([text])
        generated = policy.model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=12,
            eos_token_id=None,
            pad_token_id=0,
        )
        assert acted == generated[0].tolist()


def test_the_cache_is_allocated_once():
    policy, generator = make_policy(), numpy_generator("once")
    world = World(policy, [words(generator, 2, 9) for _ in range(3)])
    places = []
    for step in range(12):
        action = world.act([True, step < 8, True])
        places.append([buffer.data_ptr() for buffer in world.session._cache.buffers()])
        for slot in range(3):
            world.texts[slot].append(int(action.actions[slot]))
        if step == 5:
            world.refill(0, words(generator, 2, 9))
    assert len(places[0]) == 4
    assert all(place == places[0] for place in places)


@pytest.fixture
def reads(monkeypatch):
    """How many tokens each pass of a model reads."""
    counts = []
    original = CausalLMPolicy.hidden_states

    def counting(self, tokens, **inputs):
        counts.append(tokens.numel())
        return original(self, tokens, **inputs)

    monkeypatch.setattr(CausalLMPolicy, "hidden_states", counting)
    return counts


def test_samples_of_one_prompt_share_its_prefill_and_finished_slots_cost_nothing(reads):
    prompt, other = [5, 6, 7, 8, 9, 10], [11, 12, 13]
    world = World(make_policy(), [prompt, prompt, other, prompt])
    world.act()
    # one reads five tokens of the prompt, one two of the other, and all their newest
    assert reads == [4 + 5 + 2]
    for slot in range(4):
        world.texts[slot].append(4)
    world.refill(2, prompt)
    world.act()
    # a slot that begins with what another has read already only reads its newest
    assert reads[1:] == [4]
    world.act([True, False, False, True])
    assert reads[2:] == [2]


@pytest.mark.parametrize("onednn", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_samples_of_one_prompt_are_drawn_from_what_follows_it(kind, onednn, monkeypatch):
    if onednn:
        monkeypatch.setattr(products, "_FEWEST_UNITS", 1)
    texts = [[5, 6, 7, 8], [5, 6, 7, 8], [9, 10], [5, 6, 7, 8], [11]]
    assert_acts_as_the_model(make_policy(kind), texts, steps=20)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "gpt_neox"])
def test_a_pass_of_ones_own_is_for_models_that_are_as_transformers_makes_them(kind):
    model = small_model(kind)
    assert trunk_of(model, 48) is not None
    part = list(model.base_model.modules())[-1]
    part.register_forward_hook(lambda *arguments: None)
    assert trunk_of(model, 48) is None
    assert trunk_of(small_model(kind).to(torch.bfloat16), 48) is None


@pytest.mark.parametrize("units", [1, 256])
def test_what_is_new_is_read_in_the_pass_that_acts_or_in_several_where_it_is_much(reads, units, monkeypatch):
    monkeypatch.setattr(products, "_FEWEST_UNITS", units)
    generator = numpy_generator("much")
    texts = [words(generator, 9, 9) for _ in range(6)]
    together = World(make_policy(), texts).act()
    assert reads == [6 + 6 * 8]
    monkeypatch.setattr(session_module, "_READ_AT_ONCE", 16)
    in_parts = World(make_policy(), texts).act()
    assert reads[1:] == [16, 16, 16 + 6]
    assert torch.equal(together.actions, in_parts.actions)
    torch.testing.assert_close(together.logprobs, in_parts.logprobs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_what_one_pass_reads_is_still_there_after_the_next_has_read_shorter_texts(kind, monkeypatch):
    monkeypatch.setattr(session_module, "_READ_AT_ONCE", 40)
    generator = numpy_generator("long and short")
    long = words(generator, 40, 40)
    texts = [long, *(words(generator, 3, 5) for _ in range(20)), [*long[:-1], 5]]
    assert_acts_as_the_model(make_policy(kind), texts, steps=3)


@pytest.mark.parametrize("kind", KINDS)
def test_texts_alike_but_for_their_last_token_keep_it_beside_a_longer_one(kind):
    texts = [[5, 6, 7, 8], [5, 6, 7, 9], [11, 12, 13, 14, 15, 16, 17, 18, 19], [5, 6, 7, 10]]
    assert_acts_as_the_model(make_policy(kind), texts, steps=3)


def assert_acts_as_the_model(policy, texts, steps):
    """Act a few steps, and compare the log-probabilities with those of the whole texts in transformers."""
    world = World(policy, texts)
    for _ in range(steps):
        action = world.act()
        expected = next_logprobs(policy.model, world.texts, "right").gather(1, action.actions[:, None])[:, 0]
        torch.testing.assert_close(action.logprobs, expected, atol=1e-5, rtol=0)
        for slot, text in enumerate(world.texts):
            text.append(int(action.actions[slot]))


def test_a_model_is_left_with_its_own_attention():
    policy = make_policy()
    before = policy.model.config._attn_implementation
    World(policy, [[5, 6, 7]]).act()
    assert policy.model.config._attn_implementation == before


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: small_model("mistral", sliding_window=16), "layers see 16 tokens at a time.*up to 48"),
        (lambda: small_model("gemma2"), "softcap"),
        (lambda: small_model("bloom", n_head=4), "which 'bloom' lacks"),
    ],
    ids=["a window", "soft caps", "no exchange"],
)
def test_attention_of_another_kind_is_refused(model, message):
    with pytest.raises(UserError, match=message):
        World(make_policy(model=model()), [[5, 6, 7]]).act()


def test_a_window_that_no_text_exceeds_is_none():
    policy = make_policy(model=small_model("mistral", sliding_window=48))
    action = World(policy, [[5, 6, 7]]).act()
    expected = next_logprobs(policy.model, [[5, 6, 7]], "right")[0, action.actions[0]]
    assert action.logprobs[0].item() == pytest.approx(expected.item(), abs=1e-5)


def test_weights_in_bfloat16_act_with_float32_logprobs():
    policy = make_policy(model=small_model("qwen2").to(torch.bfloat16))
    world = World(policy, [[5, 6, 7, 8], [9, 10]])
    for _ in range(4):
        action = world.act()
        assert action.logprobs.dtype == torch.float32
        expected = next_logprobs(policy.model.float(), world.texts, "right")
        policy.model.to(torch.bfloat16)
        chosen = expected.gather(1, action.actions[:, None])[:, 0]
        torch.testing.assert_close(action.logprobs, chosen, atol=0.25, rtol=0)
        for slot in range(2):
            world.texts[slot].append(int(action.actions[slot]))


def test_compiling_without_a_compiler_is_refused(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setenv("CXX", "g++-99")
    with pytest.raises(UserError, match=r"no C\+\+ compiler here, got 'g\+\+-99'"):
        make_policy(compile=True).session(2)


@pytest.mark.slow
def test_compiled_acting_is_acting():
    """It needs a C++ compiler, and a minute for it."""
    generator = numpy_generator("compiled")
    texts = [words(generator, 1, 9) for _ in range(5)]
    compiled, plain = World(make_policy(compile=True), texts), World(make_policy(), texts)
    for step in range(20):
        active = np.arange(5) < 5 - step // 6
        action, expected = compiled.act(active), plain.act(active)
        assert torch.equal(action.actions, expected.actions)
        torch.testing.assert_close(action.logprobs, expected.logprobs, atol=1e-5, rtol=0)
        for world in (compiled, plain):
            for slot in np.flatnonzero(active):
                world.texts[slot].append(int(expected.actions[slot]))
