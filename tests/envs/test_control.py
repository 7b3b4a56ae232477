"""Gymnasium environments as a recipe's environment: what they refuse."""

import gymnasium as gym
import pytest

from rltk.errors import UserError
from rltk_envs.control import Control


def environment(id: str) -> Control:
    return Control(Control.Config(id=id), seed=0)


@pytest.mark.parametrize(
    ("id", "extra"), [("LunarLander-v3", "box2d"), ("HalfCheetah-v5", "mujoco"), ("Hopper-v5", "mujoco")]
)
def test_a_missing_package_is_named_by_the_extra_that_brings_it(monkeypatch, id, extra):
    def missing(*args, **kwargs):
        raise gym.error.DependencyNotInstalled("not installed, you can install it by doing this and that")

    monkeypatch.setattr(gym, "make", missing)
    monkeypatch.setattr(gym, "make_vec", missing)
    what = f"a package that it needs is not installed, got '{id}'"
    for make in (environment(id).spaces, lambda: environment(id).make_vec(2)):
        with pytest.raises(UserError) as error:
            make()
        assert str(error.value) == f"environment.id: {what}. Fix: pip install 'rltk[{extra}]'."
