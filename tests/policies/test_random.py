"""The random policy: uniform over values, boxes and tokens, by SciPy's tests and by counting."""

import math

import gymnasium as gym
import numpy as np
import pytest
import scipy.stats
import torch

from rltk.errors import UserError
from rltk.rng import EpisodeStream
from rltk.rollout import collect
from rltk.testing import check_policy
from rltk_policies.random import RandomPolicy
from tests.policies.test_causal_lm import make_envs
from tests.policies.test_mlp import rollout_of
from tests.test_action_masks import ALLOWED, Restricted, vec
from tests.text_world import word_tokenizer

SEEN = gym.spaces.Box(-10, 10, (3,), np.float32)


def make_policy(actions):
    return RandomPolicy(RandomPolicy.Config(), spaces=(SEEN, actions))


def act(policy, count=4000, **options):
    stream = EpisodeStream(5, np.arange(count), np.zeros(count, dtype=np.int64))
    session = policy.session(count)
    return session.act(
        np.zeros((count, 3), np.float32), stream=stream, active=np.ones(count, bool), **options
    )


def test_values_of_every_component_are_equally_likely():
    actions = act(make_policy(gym.spaces.MultiDiscrete([3, 5])))
    for index, size in enumerate((3, 5)):
        counts = np.bincount(actions.actions[:, index], minlength=size)
        assert len(counts) == size and scipy.stats.chisquare(counts).pvalue > 1e-4
    assert actions.logprobs.tolist() == pytest.approx([-math.log(15)] * 4000)
    assert not actions.values.any()


def test_points_of_a_box_are_equally_likely():
    policy = make_policy(gym.spaces.Box(np.float32([-1.0, 2.0]), np.float32([3.0, 2.5])))
    action = act(policy)
    for index, (low, width) in enumerate(((-1.0, 4.0), (2.0, 0.5))):
        uniform = scipy.stats.uniform(low, width)
        assert scipy.stats.kstest(action.actions[:, index].numpy(), uniform.cdf).pvalue > 1e-4
    assert action.logprobs.tolist() == pytest.approx([-math.log(4.0 * 0.5)] * 4000)
    evaluation = policy.evaluate(rollout_of(np.zeros((4000, 3), np.float32), action.actions))
    torch.testing.assert_close(evaluation.logprobs[:, 0], action.logprobs)
    assert evaluation.entropy[0, 0].item() == pytest.approx(math.log(2.0))
    outside = policy.evaluate(rollout_of(np.zeros((1, 3), np.float32), torch.tensor([[3.5, 2.2]])))
    assert outside.logprobs.item() == -math.inf


def test_only_what_is_allowed_is_drawn():
    rollout = collect(vec(Restricted), make_policy(Restricted.action_space), episodes=20, seed=0)
    column = torch.arange(rollout.mask.shape[1]).expand_as(rollout.mask)
    counts = torch.from_numpy(ALLOWED.sum(1))[column % 3].float()
    expected = torch.where(rollout.mask, -counts.log(), 0.0)
    torch.testing.assert_close(rollout.logprobs, expected)


def test_tokens_are_equally_likely():
    policy = RandomPolicy(RandomPolicy.Config(), build_tokenizer=word_tokenizer)
    rollout = collect(make_envs(8), policy, episodes=400, seed=0)
    counts = np.bincount(rollout.actions[:, 0], minlength=32)
    assert scipy.stats.chisquare(counts).pvalue > 1e-4
    assert rollout.logprobs[rollout.mask].tolist() == pytest.approx([-math.log(32)] * rollout.num_actions)


def test_the_contract_holds_on_text(tmp_path):
    word_tokenizer().save_pretrained(tmp_path)
    check_policy("random", {"tokenizer_path": str(tmp_path)})


def test_what_it_cannot_do_is_one_line():
    unbounded = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    with pytest.raises(UserError, match=r"policy\.name: 'random' needs bounds to draw between, got Box"):
        make_policy(unbounded)
    with pytest.raises(
        UserError, match=r"policy\.tokenizer_path: text needs a tokenizer, and there is none\. "
    ):
        RandomPolicy(RandomPolicy.Config())
