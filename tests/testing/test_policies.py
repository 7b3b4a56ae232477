"""The contract of policies of arrays: good ones pass, and each way of breaking it is named.

Policies of text, whose sessions have more to remember, are in test_text_policies.py.
"""

import contextlib
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces as gym_spaces
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import nn

import rltk
from rltk.testing import check_policy
from rltk.testing.policy_acting import ACTING_CHECKS, TEXT_ACTING_CHECKS
from rltk.testing.policy_learning import LEARNING_CHECKS, LISTED_CHECKS, TEXT_LEARNING_CHECKS
from rltk.testing.policy_saving import SAVING_CHECKS
from rltk.testing.reference_policy import LinearPolicy, LinearSession
from rltk.testing.running import title
from rltk.types import Action, Evaluation
from rltk_policies.mlp import MLPPolicy


class Linear(LinearPolicy):
    """Logits and value linear in the observation."""

    name = "test_linear"

    class Config(rltk.ComponentConfig):
        path: str | None = Field(None, description="Folder of a saved policy; null: new weights.")

    def __init__(self, config, *, spaces=None, generator=None):
        if spaces is None or not isinstance(spaces[1], gym_spaces.Discrete):
            raise rltk.UserError("policy.name", "it takes Discrete actions only", fix="choose mlp")
        super().__init__(spaces[0].shape[0], int(spaces[1].n))
        self.config = config
        nn.init.normal_(self.actor.weight, generator=generator)
        if config.path is not None:
            self.load_state_dict(load_file(Path(config.path) / "model.safetensors"))


def test_a_good_policy_passes():
    check_policy(Linear)


class BoxOnly(MLPPolicy):
    """Refuses to choose."""

    def __init__(self, config, *, spaces=None, generator=None):
        if spaces is not None and isinstance(spaces[1], gym_spaces.Discrete):
            raise rltk.UserError("policy.name", "it takes Box actions only", fix="choose mlp")
        super().__init__(config, spaces=spaces, generator=generator)


class ReversesGaussians(BoxOnly):
    """Has the arguments of the Gaussian divergence the wrong way round."""

    def kl_divergence(self, p, q):
        return super().kl_divergence(q, p)


class NarrowEntropy(BoxOnly):
    """Gives the entropy of one dimension for that of all."""

    def logprobs_and_entropy(self, parameters, actions):
        logprobs, entropy = super().logprobs_and_entropy(parameters, actions)
        return logprobs, entropy / 2

    def evaluate(self, batch):
        evaluation = super().evaluate(batch)
        return dataclasses.replace(evaluation, entropy=evaluation.entropy / 2)


def test_a_policy_of_continuous_actions_alone_passes():
    check_policy(BoxOnly)


@pytest.mark.parametrize(
    ("mutant", "reason"),
    [
        (ReversesGaussians, r"on Box actions: .*log-ratios of samples of p are off kl_divergence\(p, q\) by"),
        (NarrowEntropy, "on Box actions: .*log-probabilities of samples are off minus the entropy by"),
    ],
)
def test_what_is_wrong_with_continuous_actions_is_named(mutant, reason):
    with pytest.raises(AssertionError, match=reason):
        check_policy(mutant)


def test_every_world_is_named_in_the_progress():
    told = []
    check_policy("mlp", progress=lambda title, error: told.append(title))
    worlds = {line.partition(":")[0] for line in told if line.startswith("on ")}
    assert {"on Discrete actions", "on Box actions"} <= worlds


class Session(LinearSession):
    """A session whose answers a mutant changes."""

    def act(self, observations, *, stream, active, deterministic=False):
        action = super().act(observations, stream=stream, active=active, deterministic=deterministic)
        return self.policy.spoil(action, observations, stream, deterministic)


class Spoilt(Linear):
    """Acts through :meth:`spoil`."""

    def session(self, num_envs):
        return Session(self)


class DoublePrecision(Spoilt):
    """Answers in double precision."""

    def spoil(self, action, observations, stream, deterministic):
        return Action(action.actions, action.logprobs.double(), action.values)


class ExtraDimension(Spoilt):
    """Answers with a column."""

    def spoil(self, action, observations, stream, deterministic):
        return Action(action.actions[:, None], action.logprobs, action.values)


class ActsGlobally(Spoilt):
    """Samples from the global generator."""

    def spoil(self, action, observations, stream, deterministic):
        torch.rand(1)
        return action


class ScalesObservations(Spoilt):
    """Clips what it sees, in place."""

    def session(self, num_envs):
        class Clipping(LinearSession):
            def act(self, observations, **options):
                np.clip(observations, -0.5, 0.5, out=observations)
                return super().act(observations, **options)

        return Clipping(self)


class WarmEvaluation(Linear):
    """Evaluates at another temperature than it acts with."""

    def distribution_parameters(self, batch):
        return super().distribution_parameters(batch) / 1.1


class OtherValues(Linear):
    """Acts with one critic and evaluates with another."""

    def value(self, batch):
        return torch.where(batch.mask, super().value(batch) + 0.1, 0.0)


class OwnDice(Spoilt):
    """Draws for all slots from one generator of its own."""

    def session(self, num_envs):
        class Dice(LinearSession):
            generator = torch.Generator().manual_seed(0)

            @torch.no_grad()
            def act(self, observations, *, stream, active, deterministic=False):
                logits = self.policy.actor(torch.from_numpy(observations))
                actions = torch.multinomial(logits.softmax(-1), 1, generator=self.generator)[:, 0]
                logprobs, _ = self.policy.logprobs_and_entropy(logits, actions)
                return Action(actions, logprobs, self.policy.critic(torch.from_numpy(observations))[:, 0])

        return Dice(self)


class Remembers(Spoilt):
    """Carries what it saw over into the slot's next episode."""

    def session(self, num_envs):
        class Memory(LinearSession):
            seen = 0.0

            def act(self, observations, **options):
                self.seen = 0.5 * self.seen + observations
                return super().act(self.seen.astype(np.float32), **options)

        return Memory(self)


class AlwaysTheSame(Spoilt):
    """Uses the stream's positions and forgets its seed."""

    def spoil(self, action, observations, stream, deterministic):
        return action

    def session(self, num_envs):
        class Seedless(LinearSession):
            def act(self, observations, *, stream, active, deterministic=False):
                stream = type(stream)(0, stream.episodes, stream.positions)
                return super().act(observations, stream=stream, active=active, deterministic=deterministic)

        return Seedless(self)


class HotSamples(Linear):
    """Samples at one temperature and reports log-probabilities at another, in acting and evaluating."""

    def session(self, num_envs):
        class Hot(LinearSession):
            @torch.no_grad()
            def act(self, observations, *, stream, active, deterministic=False):
                logits = self.policy.actor(torch.from_numpy(observations))
                cumulative = torch.softmax(logits.double() / 2, -1).cumsum(-1)
                sampled = (torch.from_numpy(stream.uniform()) > cumulative[:, :-1]).sum(-1)
                actions = logits.argmax(-1) if deterministic else sampled
                logprobs, _ = self.policy.logprobs_and_entropy(logits, actions)
                return Action(actions, logprobs, self.policy.critic(torch.from_numpy(observations))[:, 0])

        return Hot(self)


class SamplesAnyway(Linear):
    """Knows no mode."""

    def session(self, num_envs):
        class Stubborn(LinearSession):
            def act(self, observations, *, stream, active, deterministic=False):
                return super().act(observations, stream=stream, active=active)

        return Stubborn(self)


class TakesTheLast(Linear):
    """Takes the least likely action for the mode."""

    def session(self, num_envs):
        class Least(LinearSession):
            @torch.no_grad()
            def act(self, observations, *, stream, active, deterministic=False):
                if not deterministic:
                    return super().act(observations, stream=stream, active=active)
                logits = self.policy.actor(torch.from_numpy(observations))
                actions = logits.argmin(-1)
                logprobs, _ = self.policy.logprobs_and_entropy(logits, actions)
                return Action(actions, logprobs, self.policy.critic(torch.from_numpy(observations))[:, 0])

        return Least(self)


class Unmasked(Linear):
    """Leaves entropies in the padding."""

    def evaluate(self, batch):
        logprobs, entropy = self.logprobs_and_entropy(self.distribution_parameters(batch), batch.actions)
        return Evaluation(torch.where(batch.mask, logprobs, 0.0), entropy, self.value(batch))


class WithoutGradients(Linear):
    """Evaluates as if nobody learned from it."""

    @torch.no_grad()
    def evaluate(self, batch):
        return super().evaluate(batch)


class Flat(Linear):
    """Evaluates one long row."""

    def evaluate(self, batch):
        now = super().evaluate(batch)
        return Evaluation(now.logprobs.flatten(), now.entropy, now.values)


class Dropout(Linear):
    """Leaves dropout on in evaluating."""

    def evaluate(self, batch):
        return super().evaluate(batch.replace(observations=nn.functional.dropout(batch.observations, 1e-6)))


class NotesInTheBatch(Linear):
    """Discounts the rollout's own rewards."""

    def evaluate(self, batch):
        now = super().evaluate(batch)
        batch.rewards.mul_(0.99)
        return now


class CountsRows(Spoilt):
    """Its values depend on how many rows there are."""

    def spoil(self, action, observations, stream, deterministic):
        return Action(action.actions, action.logprobs)

    def value(self, batch):
        return super().value(batch) + 0.01 * len(batch) * batch.mask


class LooksAhead(Spoilt):
    """Its values depend on the padding that follows."""

    def spoil(self, action, observations, stream, deterministic):
        return Action(action.actions, action.logprobs)

    def value(self, batch):
        values = self.critic(batch.observations)[..., 0]
        return torch.where(batch.mask, values + 0.01 * batch.observations.sum((1, 2))[:, None], 0.0)


class TwoCritics(Linear):
    """value() and evaluate() disagree."""

    def evaluate(self, batch):
        now = super().evaluate(batch)
        return Evaluation(now.logprobs, now.entropy, now.values + 0.1 * batch.mask)


class Unnormalised(Linear):
    """Its probabilities sum to more than 1."""

    def logprobs_and_entropy(self, parameters, actions):
        logprobs, entropy = super().logprobs_and_entropy(parameters, actions)
        return logprobs + 0.1, entropy - 0.1


class HalfEntropy(Linear):
    """Gives half of the entropy, everywhere alike."""

    def logprobs_and_entropy(self, parameters, actions):
        logprobs, entropy = super().logprobs_and_entropy(parameters, actions)
        return logprobs, entropy / 2


class ReverseDivergence(Linear):
    """Has the arguments the wrong way round."""

    def kl_divergence(self, p, q):
        return super().kl_divergence(q, p)


class NegativeDivergence(Linear):
    """Has the sign wrong."""

    def kl_divergence(self, p, q):
        return -super().kl_divergence(p, q)


class NoDivergence(Linear):
    """Does not measure."""

    def kl_divergence(self, p, q):
        return torch.zeros_like(p[..., 0])


class ForgetsTheBias(Linear):
    """Lists the actor's weight and not its bias."""

    def actor_parameters(self):
        return [self.actor.weight]


class ListsTwice(Linear):
    """Has the actor train with the critic."""

    def critic_parameters(self):
        return [*self.critic.parameters(), self.actor.bias]


class DetachedValues(Linear):
    """Its critic cannot learn."""

    def value(self, batch):
        return super().value(batch).detach()


@contextlib.contextmanager
def scaled(layer, factor):
    """Multiply a layer's weights for the length of a block."""
    before = [parameter.clone() for parameter in layer.parameters()]
    for parameter in layer.parameters():
        parameter.mul_(factor)
    yield
    for parameter, value in zip(layer.parameters(), before, strict=True):
        parameter.copy_(value)


class OutsideTheModule(Linear):
    """Trains a temperature that no checkpoint holds."""

    def __init__(self, config, *, spaces=None, generator=None):
        super().__init__(config, spaces=spaces, generator=generator)
        self.hidden = [nn.Parameter(torch.ones(()))]

    def actor_parameters(self):
        return [*super().actor_parameters(), *self.hidden]

    def distribution_parameters(self, batch):
        return super().distribution_parameters(batch) * self.hidden[0]

    def session(self, num_envs):
        class Scaled(LinearSession):
            @torch.no_grad()
            def act(self, observations, *, stream, active, deterministic=False):
                with scaled(self.policy.actor, self.policy.hidden[0]):
                    return super().act(
                        observations, stream=stream, active=active, deterministic=deterministic
                    )

        return Scaled(self)


class SavesHalf(Linear):
    """Saves the actor and not the critic."""

    def save(self, directory):
        directory.mkdir(parents=True)
        critic = {name: torch.zeros_like(value) for name, value in self.state_dict().items()}
        actor = {name: value for name, value in self.state_dict().items() if name.startswith("actor")}
        save_file({**critic, **actor}, directory / "model.safetensors")


class SavesNothing(Linear):
    """Puts it off."""

    def save(self, directory):
        pass


class UnseededWeights(Linear):
    """Draws its first weights from a generator that nobody seeded."""

    def __init__(self, config, *, spaces=None, generator=None):
        fresh = torch.Generator()
        fresh.seed()
        super().__init__(config, spaces=spaces, generator=fresh)


class GlobalWeights(Linear):
    """Draws its first weights from the global generator."""

    def __init__(self, config, *, spaces=None, generator=None):
        super().__init__(config, spaces=spaces, generator=None)


class RefusesRudely(Linear):
    """Refuses spaces with an assertion."""

    def __init__(self, config, *, spaces=None, generator=None):
        assert spaces is not None
        super().__init__(config, spaces=spaces, generator=generator)


class RefusesAll(Linear):
    """Takes no spaces at all."""

    def __init__(self, config, *, spaces=None, generator=None):
        raise rltk.UserError("policy.name", "not today", got=spaces, fix="come again")


@pytest.mark.parametrize(
    ("mutant", "reason"),
    [
        (DoublePrecision, r"logprobs are \(5,\) torch\.float64, not \(5,\) torch\.float32"),
        (ExtraDimension, r"actions have shape \(5, 1\), not \(5,\)"),
        (ActsGlobally, r"act\(\) used the global generator of torch"),
        (ScalesObservations, "the observations were changed"),
        (WarmEvaluation, r"the first ratio is 1: log-probability of action \d+ of episode \d+ is"),
        (Remembers, "the first ratio is 1: log-probability of action"),
        (OtherValues, "The values of acting, where it gives any, are those of evaluate"),
        (OwnDice, "1 slot and 3 slots give different actions in episode"),
        (AlwaysTheSame, "two seeds give the same actions"),
        (HotSamples, "log-probabilities of samples are off minus the entropy by"),
        (SamplesAnyway, "two seeds with deterministic=True give different actions"),
        (TakesTheLast, "another action is likelier than the mode, by"),
        (Unmasked, "entropy are not 0 where the mask is False"),
        (WithoutGradients, "logprobs carry no gradient"),
        (Flat, r"log-probability has shapes \(17, 7\) from acting and \(119,\) from evaluate"),
        (Dropout, r"evaluate\(\) used the global generator of torch"),
        (NotesInTheBatch, r"the rollout's arrays were changed at \.rewards"),
        (CountsRows, "A row alone gives .*: values of row 0: of action 0 of episode 0 is"),
        (LooksAhead, "other padding"),
        (TwoCritics, r"value of action \d+ of episode \d+ is"),
        (HalfEntropy, "log-probabilities of samples are off minus the entropy by"),
        (Unnormalised, r"total probability of action \d+ of episode \d+ is 1\.105.* from adding up"),
        (ReverseDivergence, r"KL of action \d+ of episode \d+ is .* from adding up"),
        (NegativeDivergence, r"kl_divergence\(p, q\) is -"),
        (NoDivergence, r"kl_divergence\(p, q\) is 0 for p other than q"),
        (ForgetsTheBias, "log-probabilities depend on actor.bias, which it omits"),
        (ListsTwice, "actor.bias belong to both"),
        (DetachedValues, "values do not depend on critic.weight, critic.bias"),
        (OutsideTheModule, r"restored from a checkpoint, evaluate\(\) differs in \['logprobs'\]"),
        (SavesHalf, r"saved and opened again, evaluate\(\) differs in \['values'\]"),
        (SavesNothing, r"save\(\) wrote nothing"),
        (UnseededWeights, r"the weights \['actor.weight'\] differ"),
        (GlobalWeights, "the constructor used the global generator of torch"),
        (RefusesRudely, "made for text it raised AssertionError.* Fix: raise rltk.UserError"),
        (
            RefusesAll,
            r"it acts neither on text \(.*not today.*\) nor on arrays \(Discrete actions: .*not today",
        ),
    ],
)
def test_what_is_wrong_is_named(mutant, reason):
    with pytest.raises(AssertionError, match=reason):
        check_policy(mutant)


def test_every_check_says_what_it_holds_a_policy_to():
    text = [*TEXT_ACTING_CHECKS, *TEXT_LEARNING_CHECKS]
    checks = [*ACTING_CHECKS, *LEARNING_CHECKS, *LISTED_CHECKS, *SAVING_CHECKS, *text]
    titles = [title(check) for check in checks]
    assert len(set(titles)) == len(titles)
    assert all(len(line) < 110 for line in titles)
