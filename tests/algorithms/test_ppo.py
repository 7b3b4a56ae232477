"""PPO on tiny policies: the first pass, the loss, what an update may and may not depend on."""

import numpy as np
import pytest
import torch

from rltk.advantages import with_gae
from rltk.errors import NonFiniteError
from rltk.rng import torch_generator
from rltk.rollout import collect
from rltk.testing.reference_policy import LinearPolicy
from rltk.training import weights
from rltk_algorithms.ppo import PPO
from rltk_envs.text_generation import TextGenerationVectorEnv
from rltk_policies.causal_lm.policy import CausalLMPolicy
from tests.algorithms.linear_world import loop_gae
from tests.algorithms.linear_world import make_policy as make_linear_policy
from tests.algorithms.linear_world import make_rollout as make_linear_rollout
from tests.text_world import ragged_prompts, tiny_model, word_tokenizer


def make_policy():
    policy = CausalLMPolicy(CausalLMPolicy.Config(), model=tiny_model(), tokenizer=word_tokenizer())
    torch.nn.init.normal_(policy.critic.head.weight, generator=torch_generator("head"))
    return policy


def make_ppo(policy, **options):
    return PPO(PPO.Config(**options), policy=policy, generator=torch_generator("ppo"))


def make_rollout(policy, episodes=24):
    def distinct_tokens(finished):
        return [float(len(set(episode.response_tokens))) for episode in finished]

    envs = TextGenerationVectorEnv(
        8, prompts=ragged_prompts(), tokenizer=word_tokenizer(), max_new_tokens=10, reward=distinct_tokens
    )
    return collect(envs, policy, episodes=episodes, seed=0)


def test_on_the_first_pass_the_ratio_is_exactly_1():
    policy = make_policy()
    rollout = make_rollout(policy)
    with torch.no_grad():
        rollout = rollout.replace(logprobs=policy.evaluate(rollout).logprobs)
    metrics = make_ppo(policy, epochs=1, minibatch_size=24).update(rollout)
    assert metrics["ratio_max"] == 1.0
    assert metrics["approx_kl"] == 0.0
    assert metrics["clip_fraction"] == 0.0


def test_on_the_first_pass_over_sampled_logprobs_the_ratio_is_1_to_rounding():
    policy = make_policy()
    metrics = make_ppo(policy, epochs=1, minibatch_size=24).update(make_rollout(policy))
    assert metrics["ratio_max"] == pytest.approx(1.0, abs=1e-5)


def test_the_reported_loss_is_the_loss_computed_by_hand():
    policy = make_policy()
    rollout = make_rollout(policy)
    options = {"value_coef": 0.3, "entropy_coef": 0.01, "clip_range": 0.2, "value_clip_range": 0.1}
    full = with_gae(rollout, gamma=1.0, gae_lambda=0.95, normalize=True)
    old_logprobs = rollout.logprobs + 0.1
    total = 0.0
    with torch.no_grad():
        now = policy.evaluate(full)
        for i, j in rollout.mask.nonzero().tolist():
            ratio = (now.logprobs[i, j] - old_logprobs[i, j]).exp()
            advantage = full.advantages[i, j]
            surrogate = torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)
            change = (now.values[i, j] - full.values[i, j]).clamp(-0.1, 0.1)
            errors = now.values[i, j] - full.returns[i, j], full.values[i, j] + change - full.returns[i, j]
            value_loss = 0.5 * max(error**2 for error in errors)
            total += (-surrogate + 0.3 * value_loss - 0.01 * now.entropy[i, j]).item()
    ppo = make_ppo(policy, epochs=1, minibatch_size=24, **options)
    metrics = ppo.update(rollout.replace(logprobs=old_logprobs))
    assert metrics["loss"] == pytest.approx(total / rollout.num_actions, rel=1e-4)


def largest_difference(first, second):
    return max((first[name] - second[name]).abs().max().item() for name in first)


@pytest.mark.parametrize("seed", range(3))
def test_a_non_finite_logprob_stops_even_where_only_a_late_mini_batch_holds_it(seed):
    policy = make_policy()
    rollout = make_rollout(policy)
    before = {name: tensor.clone() for name, tensor in weights(policy).items()}
    logprobs = rollout.logprobs.clone()
    logprobs[seed, 0] = float("inf")
    with pytest.raises(NonFiniteError, match="ppo: logprobs of 1 of"):
        make_ppo(policy, minibatch_size=4).update(rollout.replace(logprobs=logprobs))
    assert largest_difference(before, weights(policy)) == 0.0


def test_epochs_stop_at_the_target_kl():
    rollout = make_rollout(make_policy())
    options = {"epochs": 8, "minibatch_size": 24, "learning_rate": 0.01}
    stopped = make_ppo(make_policy(), target_kl=1e-4, **options).update(rollout)
    free = make_ppo(make_policy(), **options).update(rollout)
    assert stopped["gradient_steps"] < free["gradient_steps"] == 8


def test_the_pretraining_term_is_added_with_its_coefficient():
    rollout = make_rollout(make_policy())
    gradients = {}
    for coefficient in (0.0, 2.0):
        policy = make_policy()
        ppo = PPO(
            PPO.Config(ptx_coef=coefficient, epochs=1, minibatch_size=24, max_grad_norm=1e9),
            policy=policy,
            generator=torch_generator("ppo"),
            auxiliary_loss=lambda policy=policy: policy.model.get_output_embeddings().weight.sum(),
        )
        ppo.optimizer = torch.optim.SGD(ppo.optimizer.param_groups, lr=1.0)
        ppo.update(rollout)
        gradients[coefficient] = policy.model.get_output_embeddings().weight.detach()
    difference = gradients[0.0] - gradients[2.0]
    # The rate of plain descent is PPO's own learning rate; the term's gradient is 1 everywhere.
    torch.testing.assert_close(difference, torch.full_like(difference, 2.0 * 3e-4), rtol=1e-2, atol=1e-6)


def test_state_round_trips_bit_for_bit():
    rollout = make_rollout(make_policy())
    policy = make_policy()
    ppo = make_ppo(policy, minibatch_size=8)
    ppo.update(rollout)
    state, saved = ppo.state_dict(), {name: tensor.clone() for name, tensor in weights(policy).items()}
    state = {
        "optimizer": [dict(entry) for entry in state["optimizer"]],
        "generator": state["generator"].clone(),
    }
    state["optimizer"] = [{k: v.clone() for k, v in entry.items()} for entry in state["optimizer"]]
    ppo.update(rollout)
    expected = {name: tensor.clone() for name, tensor in weights(policy).items()}
    other = make_policy()
    with torch.no_grad():
        for name, tensor in weights(other).items():
            tensor.copy_(saved[name])
    again = make_ppo(other, minibatch_size=8)
    again.load_state_dict(state)
    again.update(rollout)
    assert largest_difference(expected, weights(other)) == 0.0


def control_update(**options):
    policy = make_linear_policy()
    options = {"epochs": 1, "minibatch_size": 64, "max_grad_norm": 1e9, **options}
    ppo = make_ppo(policy, **options)
    metrics = ppo.update(make_linear_rollout(policy), progress=0.5)
    return policy, ppo, metrics


@pytest.mark.parametrize("schedule", ["constant", "linear"])
def test_learning_rates_and_clip_ranges_follow_their_schedules(schedule):
    share = 1.0 if schedule == "constant" else 0.5
    _, ppo, metrics = control_update(
        schedule=schedule, clip_schedule=schedule, learning_rate=0.1, critic_learning_rate=0.3
    )
    assert [group["lr"] for group in ppo.optimizer.param_groups] == pytest.approx([0.1 * share, 0.3 * share])
    assert metrics["clip_range"] == pytest.approx(0.2 * share)
    scheduled, _, _ = control_update(schedule=schedule, clip_schedule=schedule, learning_rate=0.1)
    by_hand, _, _ = control_update(
        learning_rate=0.1 * share, clip_range=0.2 * share, value_clip_range=0.2 * share
    )
    assert largest_difference(weights(scheduled), weights(by_hand)) < 1e-12


@pytest.mark.parametrize("normalize_over", ["rollout", "minibatch"])
def test_advantages_are_normalised_over_what_the_option_names(normalize_over, monkeypatch):
    monkeypatch.setattr(LinearPolicy, "memoryless", False)
    policy = make_linear_policy()
    rollout = make_linear_rollout(policy)
    ppo = make_ppo(policy, epochs=1, minibatch_size=3, normalize_over=normalize_over)
    seen = []
    step = ppo._loss
    ppo._loss = lambda batch, *rest: (seen.append(batch.advantages[batch.mask]), step(batch, *rest))[1]
    metrics = ppo.update(rollout)
    everyone = torch.cat(seen)
    assert len(seen) == 3
    assert everyone.mean().item() == pytest.approx(0.0, abs=1e-9)
    of_batches = [part.std(correction=0).item() for part in seen]
    if normalize_over == "minibatch":
        assert of_batches == pytest.approx([1.0] * 3, abs=1e-6)
    else:
        assert everyone.std(correction=0).item() == pytest.approx(1.0, abs=1e-6)
        assert of_batches != pytest.approx([1.0] * 3, abs=1e-3)
    # What is reported is what the estimator gave.
    raw = loop_gae(rollout, 1.0, 0.95)[rollout.mask.numpy()]
    assert metrics["advantage_mean"] == pytest.approx(raw.mean())
    assert metrics["advantage_std"] == pytest.approx(raw.std())


def test_a_mini_batch_of_one_action_keeps_its_advantage():
    _, _, metrics = control_update(minibatch_size=1, normalize_over="minibatch")
    assert metrics["gradient_steps"] == 23 and metrics["policy_loss"] != 0.0 and metrics["kl"] > 0.0


@pytest.mark.parametrize(("memoryless", "gradient_steps"), [(True, 3), (False, 1)])
def test_mini_batches_are_of_steps_where_the_policy_has_no_memory(memoryless, gradient_steps, monkeypatch):
    monkeypatch.setattr(LinearPolicy, "memoryless", memoryless)
    _, _, metrics = control_update(minibatch_size=10)
    # The rollout has 23 steps in 8 episodes.
    assert metrics["gradient_steps"] == gradient_steps


def test_steps_and_episodes_give_the_same_update_of_the_whole_rollout(monkeypatch):
    monkeypatch.setattr(LinearPolicy, "memoryless", False)
    as_episodes, _, first = control_update()
    monkeypatch.setattr(LinearPolicy, "memoryless", True)
    as_steps, _, second = control_update()
    assert largest_difference(weights(as_episodes), weights(as_steps)) < 1e-12
    assert first == pytest.approx(second)


def test_the_step_over_the_target_kl_is_not_taken():
    policy = make_linear_policy()
    rollout = make_linear_rollout(policy)
    before = {name: tensor.clone() for name, tensor in weights(policy).items()}
    # The rollout was sampled by another policy, so that even the first step is too far away.
    metrics = make_ppo(policy, target_kl=1e-4, epochs=3, minibatch_size=2).update(rollout)
    assert metrics["gradient_steps"] == 0
    assert metrics["approx_kl"] > 1.5e-4
    assert metrics["kl"] == 0.0
    assert largest_difference(before, weights(policy)) == 0.0


def test_diagnostics_equal_numpy_ones():
    policy = make_linear_policy()
    rollout = make_linear_rollout(policy)
    now = policy.evaluate(rollout)
    mask = rollout.mask
    ratio = (now.logprobs - rollout.logprobs)[mask].exp().detach().numpy()
    metrics = make_ppo(policy, epochs=1, minibatch_size=64).update(rollout)
    assert metrics["ratio_max"] == pytest.approx(ratio.max())
    assert metrics["clip_fraction"] == pytest.approx((np.abs(ratio - 1) > 0.2).mean())
    assert metrics["approx_kl"] == pytest.approx((ratio - 1 - np.log(ratio)).mean())
    assert metrics["entropy"] == pytest.approx(now.entropy[mask].mean().item())
    assert metrics["kl"] > 0
