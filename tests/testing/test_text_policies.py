"""The contract of policies of text: sessions that forget, positions that slip, padding that leaks."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from rltk.testing import check_policy
from rltk.testing.worlds import save_causal_lm, save_reward_model
from rltk.types import Evaluation
from rltk_policies.causal_lm.policy import CausalLMPolicy
from rltk_policies.causal_lm.session import CausalLMSession


@pytest.mark.parametrize(
    ("model_type", "critic"), [("gpt2", "detached_head"), ("llama", "shared_trunk"), ("llama", "separate")]
)
def test_language_models_pass_with_every_critic(tmp_path: Path, model_type: str, critic: str):
    options = {"path": save_causal_lm(tmp_path / "model", model_type), "critic": critic, "temperature": 0.8}
    if critic == "separate":
        start = CausalLMPolicy.Config(**options, critic_path=save_reward_model(tmp_path / "critic"))
        CausalLMPolicy(start).save(tmp_path / "both")
        options["path"] = str(tmp_path / "both")
    check_policy(CausalLMPolicy, options, directory=tmp_path / "scratch")


class Mutant(CausalLMPolicy):
    """Acts through the session class of the mutant."""

    acting = CausalLMSession

    def session(self, num_envs):
        return self.acting(self, num_envs)


class Warm(Mutant):
    """Evaluates without its temperature."""

    @classmethod
    def check_options(cls, directory):
        return {**super().check_options(directory), "temperature": 0.7}

    def evaluate(self, batch):
        now = super().evaluate(batch)
        logprobs = torch.log_softmax(self.distribution_parameters(batch) * self.config.temperature, -1)
        taken = logprobs.gather(-1, batch.actions[..., None])[..., 0]
        return Evaluation(torch.where(batch.mask, taken, 0.0), now.entropy, now.values)


class KeepsTheCache(Mutant):
    """Goes on from the cache of the slot's former episode."""

    class acting(CausalLMSession):  # noqa: N801 - an attribute of the policy
        def act(self, observations, *, stream, active, deterministic=False):
            late = type(stream)(stream.seed, stream.episodes, np.maximum(stream.positions, 1))
            later = {"stream": late, "active": active, "deterministic": deterministic}
            return super().act(observations, **later)


class MixesSlots(Mutant):
    """Takes one slot's row of the cache for another's once a slot is idle."""

    class acting(CausalLMSession):  # noqa: N801
        def _compact(self, cache, active):
            super()._compact(cache, active)
            if not active.all():
                self._row = np.roll(self._row, 1)


class ReadsOneToken(Mutant):
    """Takes for granted that a text grows by its own token alone."""

    class acting(CausalLMSession):  # noqa: N801
        def act(self, observations, *, stream, active, deterministic=False):
            if self._cache is not None:
                going_on = active & (stream.positions > 0)
                self._cached[going_on] = observations["length"][going_on, 0] - 1
            return super().act(observations, stream=stream, active=active, deterministic=deterministic)


class OwnDice(Mutant):
    """Numbers its draws by slot instead of by episode."""

    class acting(CausalLMSession):  # noqa: N801
        def act(self, observations, *, stream, active, deterministic=False):
            slots = type(stream)(stream.seed, np.arange(self.num_envs), stream.positions)
            return super().act(observations, stream=slots, active=active, deterministic=deterministic)


class ReadsPadding(Mutant):
    """Its values see the tokens that follow; acting gives none."""

    def values_in_passing(self, hidden):
        return None

    def value(self, batch):
        return self.evaluate(batch).values

    def evaluate(self, batch):
        now = super().evaluate(batch)
        seen = 0.001 * batch.tokens.float().sum(1, keepdim=True)
        return Evaluation(now.logprobs, now.entropy, torch.where(batch.mask, now.values + seen, 0.0))


class CountsFromTheEnd(Mutant):
    """Takes the last tokens of a row for its actions."""

    def evaluate(self, batch):
        place = torch.arange(batch.tokens.shape[1])
        first = batch.lengths - batch.mask.sum(1)
        action_mask = (place >= first[:, None]) & (place < batch.lengths[:, None])
        return super().evaluate(batch.replace(action_mask=action_mask))


class LosesTheHead(Mutant):
    """Saves the model and not the critic's head."""

    def save(self, directory):
        super().save(directory)
        shutil.rmtree(directory / "critic")


class SavesInHalf(Mutant):
    """Saves weights of half the precision."""

    def save(self, directory):
        whole = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.model.load_state_dict({name: value.half().float() for name, value in whole.items()})
        super().save(directory)
        self.model.load_state_dict(whole)


class LeavesDropoutOn(Mutant):
    """Is in training mode."""

    @classmethod
    def check_options(cls, directory):
        return {"path": save_causal_lm(directory, "gpt2")}

    def __init__(self, config, **collaborators):
        super().__init__(config, **collaborators)
        self.train()


@pytest.mark.parametrize(
    ("mutant", "reason"),
    [
        (Warm, r"the first ratio is 1: log-probability of action \d+ of episode \d+ is"),
        (KeepsTheCache, "the first ratio is 1"),
        (MixesSlots, "the first ratio is 1"),
        (ReadsOneToken, "Acting reads the tokens that the environment appends between two actions: log-prob"),
        (OwnDice, "give different actions in episode"),
        (ReadsPadding, r"other padding|the row alone"),
        (CountsFromTheEnd, "Tokens that are no actions are read, but not scored"),
        (LosesTheHead, r"saved and opened again, evaluate\(\) differs in \['values'\]"),
        (SavesInHalf, r"saved and opened again, evaluate\(\) differs in \['logprobs'\]"),
        (LeavesDropoutOn, r"act\(\) used the global generator of torch"),
    ],
)
def test_what_is_wrong_is_named(mutant, reason):
    with pytest.raises(AssertionError, match=reason):
        check_policy(mutant)


def test_a_policy_without_its_model_asks_for_options():
    class Pathless(CausalLMPolicy):
        """Offers no options to be checked with."""

        @classmethod
        def check_options(cls, directory):
            return {}

    with pytest.raises(AssertionError, match="there is no path to load a model from"):
        check_policy(Pathless)
