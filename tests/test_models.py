"""Models as stages use them: what is refused, what is set, what comes back from disk."""

import math

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
)
from transformers.activations import GELUTanh

from rltk.errors import UserError
from rltk.models import (
    build_causal_lm,
    check_tokenizer,
    context_length,
    fuse_activations,
    load_causal_lm,
    load_reward_model,
    load_tokenizer,
    quiet_transformers,
    reward_model_from_policy,
    save_model,
    tokenizer_fingerprint,
)
from rltk.preference import score_rows
from rltk.rng import seeded_initialisation
from tests.stage_world import TINY_LLAMA
from tests.text_world import tiny_model, word_tokenizer


@pytest.fixture
def policy_folder(tmp_path):
    save_model(tiny_model(), word_tokenizer(), tmp_path / "policy")
    return tmp_path / "policy"


def test_a_tokenizer_needs_eos_and_a_pad_of_its_own():
    tokenizer = word_tokenizer()
    check_tokenizer(tokenizer, "tokenizer")
    tokenizer.pad_token = tokenizer.eos_token
    with pytest.raises(
        UserError, match=r"^tokenizer: the tokenizer uses its EOS token for padding, got '<eos>'"
    ):
        check_tokenizer(tokenizer, "tokenizer")
    tokenizer.pad_token = None
    with pytest.raises(UserError, match=r"no pad token\. Fix: set the option pad_token"):
        check_tokenizer(tokenizer, "tokenizer")
    check_tokenizer(tokenizer, "tokenizer", pad_token="<|pad|>")
    assert (tokenizer.pad_token_id, len(tokenizer)) == (32, 33)
    tokenizer.eos_token = None
    with pytest.raises(UserError, match="no EOS token"):
        check_tokenizer(tokenizer, "tokenizer", pad_token="<|pad|>")


def test_a_pad_token_that_exists_stays():
    tokenizer = word_tokenizer()
    check_tokenizer(tokenizer, "tokenizer", pad_token="<|pad|>")
    assert (tokenizer.pad_token_id, len(tokenizer)) == (0, 32)


def test_fingerprints_tell_vocabularies_apart():
    other = word_tokenizer()
    assert tokenizer_fingerprint(word_tokenizer()) == tokenizer_fingerprint(other)
    other.add_tokens(["new"])
    assert tokenizer_fingerprint(word_tokenizer()) != tokenizer_fingerprint(other)


def test_a_model_takes_vocabulary_and_ids_from_the_tokenizer_and_weights_from_the_seed():
    one, same, other = (
        build_causal_lm(TINY_LLAMA, word_tokenizer(), where="model", seed=seed) for seed in (1, 1, 2)
    )
    config = one.config
    assert (config.vocab_size, config.pad_token_id, config.eos_token_id) == (32, 0, 1)
    assert config.bos_token_id is None
    assert torch.equal(one.lm_head.weight, same.lm_head.weight)
    assert not torch.equal(one.lm_head.weight, other.lm_head.weight)
    assert context_length(one) == 32 and context_length(tiny_model("gpt2", context=40)) == 40


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"model_type": "lama"},
            "model.model_type: not a transformers model type, got 'lama'. Fix: did you mean",
        ),
        ({"model_type": None}, "model.model_type: not a transformers model type. Fix: add model_type"),
        (
            {"hiden_size": 3},
            "model.hiden_size: the llama config has no such key. Fix: did you mean 'hidden_size'",
        ),
    ],
)
def test_a_misspelt_model_is_an_error_with_a_suggestion(change, message):
    with pytest.raises(UserError) as error:
        build_causal_lm({**TINY_LLAMA, **change}, word_tokenizer(), where="model", seed=0)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("load", [load_tokenizer, load_causal_lm, load_reward_model])
def test_a_missing_folder_is_one_line(load, tmp_path):
    with pytest.raises(UserError, match=r"^stages\.sft\.path: no .* can be loaded from it") as error:
        load(tmp_path / "nothing", "stages.sft.path")
    assert "\n" not in str(error.value)


def test_damaged_weights_are_one_line(policy_folder):
    weights = policy_folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:200])
    with pytest.raises(UserError, match=r"^policy: no model can be loaded from it") as error:
        load_causal_lm(policy_folder, "policy")
    assert "\n" not in str(error.value)


def test_a_saved_model_opens_with_transformers_alone(policy_folder):
    model, saved = tiny_model(), AutoModelForCausalLM.from_pretrained(policy_folder)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), saved.parameters(), strict=True))
    generation = saved.generation_config
    assert (generation.eos_token_id, generation.pad_token_id, generation.bos_token_id) == (1, 0, None)
    assert tokenizer_fingerprint(AutoTokenizer.from_pretrained(policy_folder)) == tokenizer_fingerprint(
        word_tokenizer()
    )
    assert [path.name for path in policy_folder.glob("*.bin")] == []


def test_half_precision_weights_are_opened_in_float32(tmp_path):
    save_model(tiny_model().to(torch.bfloat16), word_tokenizer(), tmp_path / "half")
    assert load_causal_lm(tmp_path / "half", "path").dtype == torch.float32


def test_dropout_is_set_only_where_asked(tmp_path):
    save_model(tiny_model("gpt2"), word_tokenizer(), tmp_path / "gpt2")
    assert load_causal_lm(tmp_path / "gpt2", "path").config.resid_pdrop == 0.1
    model = load_causal_lm(tmp_path / "gpt2", "path", dropout=0.0)
    assert (model.config.resid_pdrop, model.config.attn_pdrop, model.config.embd_pdrop) == (0.0, 0.0, 0.0)
    assert model.transformer.drop.p == 0.0


def test_a_reward_model_starts_as_the_policys_trunk_with_a_small_seeded_head(policy_folder):
    one, same, other = (reward_model_from_policy(policy_folder, "path", seed=seed) for seed in (1, 1, 2))
    policy = load_causal_lm(policy_folder, "path")
    for name, tensor in policy.model.state_dict().items():
        assert torch.equal(one.model.state_dict()[name], tensor)
    assert torch.equal(one.score.weight, same.score.weight)
    assert not torch.equal(one.score.weight, other.score.weight)
    # 16 draws of N(0, 1/sqrt(17)): the sample's deviation is within 60 % of it
    assert one.score.weight.std().item() == pytest.approx(1 / math.sqrt(17), rel=0.6)


def test_a_model_with_several_labels_is_no_reward_model(policy_folder, tmp_path):
    model = reward_model_from_policy(policy_folder, "path", seed=0)
    model.config.num_labels = 3
    model.score = torch.nn.Linear(16, 3, bias=False)
    save_model(model, word_tokenizer(), tmp_path / "three")
    with pytest.raises(UserError, match="gives one score, got '3 labels'"):
        load_reward_model(tmp_path / "three", "path")


def test_scores_depend_on_neither_order_nor_padding_and_the_bias_is_subtracted(policy_folder):
    model = reward_model_from_policy(policy_folder, "path", seed=0).eval()
    rows = [[3, 4, 1], [5, 1], [6, 7, 8, 9, 10, 1], [11], [3, 4, 5, 6]]
    with torch.no_grad():
        alone = torch.stack([model(torch.tensor([row])).logits[0, 0] for row in rows])
        for size in (1, 7, 1000):
            torch.testing.assert_close(
                score_rows(model, rows, micro_batch_tokens=size), alone, atol=1e-5, rtol=0
            )
        torch.testing.assert_close(
            score_rows(model, rows[::-1], micro_batch_tokens=9), alone.flip(0), atol=1e-5, rtol=0
        )
        model.config.reward_bias = 0.75
        torch.testing.assert_close(
            score_rows(model, rows, micro_batch_tokens=9), alone - 0.75, atol=1e-5, rtol=0
        )
    assert score_rows(model, [], micro_batch_tokens=9).tolist() == []


def test_a_model_that_reads_both_ways_sees_no_padding():
    config = BertConfig(
        vocab_size=16,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        num_labels=1,
        pad_token_id=0,
    )
    with seeded_initialisation("bert"):
        model = BertForSequenceClassification(config).eval()
    rows = [[3, 4, 1], [5, 1], [6, 7, 8, 9, 10, 1]]
    with torch.no_grad():
        alone = torch.stack([model(torch.tensor([row])).logits[0, 0] for row in rows])
        torch.testing.assert_close(score_rows(model, rows, micro_batch_tokens=99), alone, atol=1e-6, rtol=0)


@pytest.mark.parametrize("activation", ["gelu_new", "gelu_fast"])
def test_fused_activations_are_the_same_functions(activation):
    config = GPT2Config(vocab_size=32, n_embd=16, n_layer=2, n_head=2, activation_function=activation)
    with seeded_initialisation("gelu"):
        model = GPT2LMHeadModel(config).eval()
    tokens = torch.tensor([[3, 4, 5, 6]])
    outputs = []
    for _ in range(2):
        loss = model(tokens, labels=tokens).loss
        outputs.append((loss.detach(), torch.autograd.grad(loss, list(model.parameters()))))
        assert fuse_activations(model) is model
    assert {type(m.mlp.act) for m in model.transformer.h} == {GELUTanh}
    torch.testing.assert_close(outputs[1], outputs[0], atol=1e-6, rtol=1e-5)
    assert model.config.activation_function == activation


@pytest.mark.parametrize(("rows", "what"), [([[3], []], "row 1 is empty"), ([[3] * 49], "row 0 is too long")])
def test_a_row_that_cannot_be_scored_is_named(policy_folder, rows, what):
    model = reward_model_from_policy(policy_folder, "path", seed=0)
    with pytest.raises(UserError, match=what):
        score_rows(model, rows, micro_batch_tokens=100)


def test_transformers_is_as_talkative_after_as_before():
    from transformers.utils import logging

    logging.enable_progress_bar()
    before = logging.get_verbosity()
    with quiet_transformers():
        assert not logging.is_progress_bar_enabled()
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == (before, True)
