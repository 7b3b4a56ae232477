"""LoRA: the adapter alone is trained, the base model stays and is the reference, what is saved opens."""

import builtins
import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

import rltk
from rltk.errors import UserError
from rltk.models import save_model
from rltk.rng import torch_generator
from rltk.rollout import collect
from rltk_policies.causal_lm.policy import CausalLMPolicy
from tests.policies.test_causal_lm import make_envs
from tests.text_world import tiny_model, word_tokenizer

KINDS = ["gpt2", "llama"]


@pytest.fixture(params=KINDS)
def base(request, tmp_path):
    pytest.importorskip("peft")
    save_model(tiny_model(request.param), word_tokenizer(), tmp_path / "base")
    return str(tmp_path / "base")


def open_policy(path, **options):
    return CausalLMPolicy(CausalLMPolicy.Config(path=path, **options), generator=torch_generator("lora"))


def adapted(path, **options):
    """Return a policy with an adapter whose every weight was moved."""
    policy = open_policy(path, lora={"rank": 4, "alpha": 8}, **options)
    with torch.no_grad():
        for index, parameter in enumerate(policy.actor_parameters()):
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch_generator("moved", index)))
    return policy


def storages(policy, of=""):
    return {p.data_ptr() for name, p in policy.model.named_parameters() if of in name}


def assert_equal_but_for_rounding(one, other, rollout):
    """A model with an adapter takes its own forward pass, GPT-2 without one a shorter pass."""
    torch.testing.assert_close(
        one.evaluate(rollout).logprobs, other.evaluate(rollout).logprobs, atol=1e-5, rtol=0
    )


def test_a_new_adapter_changes_nothing(base):
    plain, policy = open_policy(base), open_policy(base, lora={})
    rollout = collect(make_envs(3), plain, episodes=5, seed=0)
    assert_equal_but_for_rounding(plain, policy, rollout)
    assert torch.equal(collect(make_envs(3), policy, episodes=5, seed=0).tokens, rollout.tokens)


def test_the_adapter_adds_scaled_products_of_its_matrices(base):
    """W' = W + alpha / rank B A in every linear layer but the output (Hu et al. 2021, section 4.1)."""
    policy = adapted(base)
    plain = tiny_model(policy.model.config.model_type)
    weights = dict(policy.model.named_parameters())
    with torch.no_grad():
        for name, module in plain.named_modules():
            if f"{name}.lora_A.default.weight" in weights:
                a, b = (weights[f"{name}.lora_{letter}.default.weight"] for letter in "AB")
                delta = (8 / 4) * b @ a
                module.weight.add_(delta.T if module.__class__.__name__ == "Conv1D" else delta)
    adapted_layers = sum(".lora_A." in name for name in weights)
    assert adapted_layers == (8 if hasattr(plain, "transformer") else 14)
    tokens = torch.tensor([[3, 9, 4, 17]])
    torch.testing.assert_close(policy.model(tokens).logits, plain(tokens).logits, atol=1e-4, rtol=1e-4)


def test_acting_and_evaluating_agree(base):
    policy = adapted(base)
    rollout = collect(make_envs(4), policy, episodes=12, seed=3)
    torch.testing.assert_close(
        rollout.logprobs, policy.evaluate(rollout).logprobs.detach(), atol=1e-5, rtol=0
    )


def test_only_the_adapter_learns(base):
    policy = adapted(base, critic="shared_trunk")
    frozen = {n: p.detach().clone() for n, p in policy.model.named_parameters() if ".lora_" not in n}
    torch.nn.init.ones_(policy.critic.head.weight)
    rollout = collect(make_envs(3), policy, episodes=5, seed=0)
    evaluation = policy.evaluate(rollout)
    (evaluation.logprobs.sum() + evaluation.values.sum()).backward()
    assert all(bool(p.grad.any()) for p in policy.actor_parameters())
    assert all(policy.model.get_parameter(name).grad is None for name in frozen)
    torch.optim.SGD(policy.actor_parameters(), lr=0.1).step()
    assert all(torch.equal(policy.model.get_parameter(name), weight) for name, weight in frozen.items())


def test_the_reference_is_the_base_model_on_the_same_weights(base):
    plain, policy = open_policy(base), adapted(base)
    reference = policy.reference(CausalLMPolicy.Config(path=base))
    rollout = collect(make_envs(4), policy, episodes=12, seed=3)
    assert_equal_but_for_rounding(reference, plain, rollout)
    assert not torch.equal(reference.evaluate(rollout).logprobs, policy.evaluate(rollout).logprobs)
    assert storages(reference) == storages(policy), "no weight was copied"
    assert reference.model is policy.model and list(reference.critic_parameters()) == []
    with torch.no_grad():
        expected = collect(make_envs(4), plain, episodes=5, seed=1)
        assert torch.equal(collect(make_envs(4), reference, episodes=5, seed=1).tokens, expected.tokens)


def test_the_reference_leaves_the_adapter_on_and_trainable(base):
    policy = adapted(base)
    rollout = collect(make_envs(3), policy, episodes=5, seed=0)
    before = policy.evaluate(rollout)
    policy.reference(CausalLMPolicy.Config(path=base)).evaluate(rollout)
    after = policy.evaluate(rollout)
    assert torch.equal(before.logprobs, after.logprobs)
    before.logprobs.sum().backward()
    assert all(p.requires_grad and p.grad is not None for p in policy.actor_parameters())


def test_another_reference_needs_weights_of_its_own(base, tmp_path):
    save_model(tiny_model("llama"), word_tokenizer(), tmp_path / "other")
    other = CausalLMPolicy.Config(path=str(tmp_path / "other"))
    assert adapted(base).reference(other) is None
    assert adapted(base).reference(CausalLMPolicy.Config(path=base, lora={})) is None
    assert open_policy(base).reference(CausalLMPolicy.Config(path=base)) is None


def test_the_reference_keeps_its_own_temperature(base):
    policy = adapted(base)
    config = CausalLMPolicy.Config(path=base, temperature=0.5)
    rollout = collect(make_envs(3), policy, episodes=5, seed=0)
    assert_equal_but_for_rounding(policy.reference(config), open_policy(base, temperature=0.5), rollout)


def test_a_saved_policy_holds_merged_weights_and_the_adapter(base, tmp_path):
    policy = adapted(base)
    policy.save(tmp_path / "saved")
    rollout = collect(make_envs(4), policy, episodes=8, seed=3)
    expected = policy.evaluate(rollout).logprobs.detach()
    merged = open_policy(str(tmp_path / "saved"))
    torch.testing.assert_close(merged.evaluate(rollout).logprobs.detach(), expected, atol=1e-4, rtol=1e-4)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    assert not [name for name, _ in plain.named_parameters() if "lora" in name or "base_layer" in name]
    import peft

    opened = peft.PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(base), tmp_path / "saved/adapter"
    )
    tokens = torch.tensor([[3, 9, 4]])
    torch.testing.assert_close(opened(tokens).logits, policy.model(tokens).logits)


def test_a_saved_adapter_goes_on_where_it_was(base, tmp_path):
    policy = adapted(base)
    policy.save(tmp_path / "saved")
    again = open_policy(str(tmp_path / "saved"), lora={})
    rollout = collect(make_envs(4), policy, episodes=8, seed=3)
    assert torch.equal(again.evaluate(rollout).logprobs, policy.evaluate(rollout).logprobs)
    assert all(p.requires_grad for p in again.actor_parameters())
    reference = again.reference(CausalLMPolicy.Config(path=base))
    assert_equal_but_for_rounding(reference, open_policy(base), rollout)


def test_saving_leaves_the_policy_as_it_was(base, tmp_path):
    policy = adapted(base)
    before = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
    policy.save(tmp_path / "saved")
    after = policy.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("name", ["ppo", "trpo", "rloo", "grpo"])
def test_every_algorithm_trains_the_adapter(base, name):
    policy = adapted(base, critic="none" if name in ("rloo", "grpo") else "detached_head")
    rollout = collect(make_envs(4, group_size=4), policy, episodes=16, seed=3)
    before = [p.detach().clone() for p in policy.actor_parameters()]
    metrics = rltk.create("algorithm", name, policy=policy).update(rollout)
    assert all(math.isfinite(value) for value in metrics.values())
    moved = [not torch.equal(*pair) for pair in zip(before, policy.actor_parameters(), strict=True)]
    assert all(moved)


def test_the_contract_holds(base):
    from rltk.testing import check_policy

    check_policy(CausalLMPolicy, {"path": base, "lora": {"rank": 2}})


def test_a_base_model_that_is_gone_is_one_line(base, tmp_path):
    adapted(base).save(tmp_path / "saved")
    Path(base).rename(tmp_path / "elsewhere")
    words = r"adapter, its base model: no model can be loaded from it .*, got '.*base'\. Fix: "
    with pytest.raises(UserError, match=words) as raised:
        open_policy(str(tmp_path / "saved"), lora={})
    assert "\n" not in str(raised.value)
    assert open_policy(str(tmp_path / "saved")), "the merged weights need no base"


def test_an_adapter_of_a_model_without_a_path_does_not_go_on(tmp_path):
    pytest.importorskip("peft")
    config = CausalLMPolicy.Config(lora={"rank": 2})
    CausalLMPolicy(config, model=tiny_model(), tokenizer=word_tokenizer()).save(tmp_path)
    words = r"policy\.lora: the saved adapter's base model is unknown, got .* Fix: leave policy\.lora out"
    with pytest.raises(UserError, match=words):
        open_policy(str(tmp_path), lora={})


def test_layers_that_are_not_there_are_one_line(base):
    words = r"policy\.lora\.target_modules: the model has no layers to adapt .* Fix: name layers that it has"
    with pytest.raises(UserError, match=words) as raised:
        open_policy(base, lora={"target_modules": ["nowhere"]})
    assert "\n" not in str(raised.value)


def test_without_peft_the_extra_is_named(monkeypatch, tmp_path):
    save_model(tiny_model(), word_tokenizer(), tmp_path)
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name == "peft":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(
        UserError, match=r"policy\.lora: adapters need peft, .* Fix: pip install 'rltk\[lora\]'"
    ):
        open_policy(str(tmp_path), lora={})
