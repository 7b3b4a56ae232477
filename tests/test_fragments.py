"""Fragments: nothing lost between rollouts, no boundary inside a row, the right value after each."""

import numpy as np
import pytest
import torch

from rltk.errors import UserError
from rltk.fragments import FragmentCollector, Layout
from tests.policies.test_causal_lm import make_policy
from tests.test_rollout import counter_envs, counter_policy


def test_the_layout_of_one_slot_after_another():
    ended = np.array([[0, 1], [0, 0], [1, 0], [0, 1]], dtype=bool)
    layout = Layout(ended)
    assert layout.rows == 4
    assert layout.last_slot.tolist() == [0, 0, 1, 1]
    assert layout.last_t.tolist() == [2, 3, 0, 3]
    steps = torch.tensor([[1, 10], [2, 20], [3, 30], [4, 40]])
    assert layout.place(steps).tolist() == [[1, 2, 3], [4, 0, 0], [10, 0, 0], [20, 30, 40]]


def test_episodes_go_on_from_rollout_to_rollout():
    """One environment: episodes of 5 (cut off), 3 (terminated), 5, 3, ... in rollouts of 4 steps."""
    collector = FragmentCollector(counter_envs(1), counter_policy(), seed=0)
    first, second, third = (collector.collect(4) for _ in range(3))
    assert first.observations[:, :, 0].tolist() == [[0, 1, 2, 3]]
    assert second.observations[:, :, 0].tolist() == [[4, 0, 0], [0, 1, 2]]
    assert second.mask.tolist() == [[True, False, False], [True, True, True]]
    assert third.observations[:, :, 0].tolist() == [[0, 1, 2, 3]]
    assert second.episode_ids.tolist() == [0, 1] and third.episode_ids.tolist() == [2]
    # The critic says 10 for each unit counted: cut by the rollout after 3, truncated at 5, terminated at 3.
    assert first.bootstrap.tolist() == [40.0]
    assert second.bootstrap.tolist() == [50.0, 0.0]
    assert list(collector.returns) == [15.0, 6.0]


def test_the_steps_are_those_of_whole_episodes():
    from rltk.rollout import collect

    whole = collect(counter_envs(1), counter_policy(), episodes=4, seed=3).steps()
    fragments = FragmentCollector(counter_envs(1), counter_policy(), seed=3).collect(16).steps()
    for name in ("observations", "actions", "rewards", "values"):
        assert torch.equal(getattr(whole, name), getattr(fragments, name)), name
    torch.testing.assert_close(whole.logprobs, fragments.logprobs)


def test_slots_are_independent_and_steps_are_rounded_down():
    rollout = FragmentCollector(counter_envs(3), counter_policy(), seed=0).collect(11)
    assert rollout.num_actions == 9 and len(rollout) == 3
    assert rollout.episode_ids.tolist() == [0, 1, 2]


def test_a_policy_that_remembers_is_refused():
    with pytest.raises(UserError, match="'causal_lm' remembers"):
        FragmentCollector(counter_envs(1), make_policy(), seed=0)
