"""The contract of algorithms: good ones pass, and each way of breaking it is named."""

import random

import pytest
import torch
from pydantic import Field

import rltk
from rltk.errors import NonFiniteError
from rltk.losses import masked_sum
from rltk.testing import check_algorithm
from rltk.testing.algorithms import ALGORITHM_CHECKS
from rltk.testing.running import title
from rltk.training import gradient_step, load_optimizer_state, optimizer_state, require_finite


class Reinforce(rltk.Algorithm):
    """Likelihood-ratio policy gradient with the mean return as baseline; no critic."""

    name = "reinforce"

    class Config(rltk.ComponentConfig):
        learning_rate: float = Field(0.03, gt=0, description="Adam step size.")

    def __init__(self, config, *, policy, generator, auxiliary_loss=None):
        super().__init__(config, policy=policy, generator=generator, auxiliary_loss=auxiliary_loss)
        self.optimizer = torch.optim.Adam(policy.actor_parameters(), lr=config.learning_rate)

    def update(self, rollout, *, progress=0.0):
        require_finite(rollout, self.name)
        loss = self.loss(rollout, self.advantages(rollout))
        self.step(loss)
        return {"policy_loss": loss.item()}

    def advantages(self, rollout):
        returns = masked_returns(rollout)
        return returns - returns.mean()

    def loss(self, rollout, advantages):
        logprobs = self.policy.evaluate(rollout).logprobs
        return masked_sum(-advantages[:, None] * logprobs, rollout.mask) / rollout.num_actions

    def step(self, loss):
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def state_dict(self):
        return {"optimizer": optimizer_state(self.optimizer)}

    def load_state_dict(self, state):
        load_optimizer_state(self.optimizer, state["optimizer"])


def masked_returns(rollout):
    return torch.where(rollout.mask, rollout.rewards, 0.0).sum(1)


class GroupBaseline(Reinforce):
    """Compares each episode with those that answer the same prompt."""

    name = "group_baseline"

    def advantages(self, rollout):
        returns = masked_returns(rollout)
        if rollout.groups is None:
            return super().advantages(rollout)
        same = rollout.groups[:, None] == rollout.groups
        return returns - (same * returns).sum(1) / same.sum(1)


@pytest.mark.parametrize("good", [Reinforce, GroupBaseline])
def test_good_algorithms_pass(good):
    check_algorithm(good)


def test_a_registered_algorithm_passes_by_name():
    check_algorithm("trpo")


@pytest.mark.parametrize(
    "options", [{"epochs": 1, "minibatch_size": 4}, {"schedule": "linear", "normalize_advantages": False}]
)
def test_ppo_passes_with_other_options(options):
    check_algorithm("ppo", options)


class DrawsGlobally(Reinforce):
    """Shuffles with the global generator."""

    def update(self, rollout, *, progress=0.0):
        return super().update(rollout.select(torch.randperm(len(rollout))))


class TensorMetrics(Reinforce):
    """Returns tensors."""

    def update(self, rollout, *, progress=0.0):
        return {name: torch.tensor(value) for name, value in super().update(rollout).items()}


class NaNMetrics(Reinforce):
    """Measures something that there is none of."""

    def update(self, rollout, *, progress=0.0):
        return super().update(rollout) | {"ratio": float("nan")}


class NoMetrics(Reinforce):
    """Forgets to return."""

    def update(self, rollout, *, progress=0.0):
        super().update(rollout)


class NeverSteps(Reinforce):
    """Computes gradients and leaves it at that."""

    def step(self, loss):
        loss.backward()


class OnlyCritic(Reinforce):
    """Trains the wrong half."""

    def update(self, rollout, *, progress=0.0):
        with torch.no_grad():
            for parameter in self.policy.critic_parameters():
                parameter.add_(0.1)
        return {"value_loss": 0.0}


class ShapesInPlace(Reinforce):
    """Discounts in the rollout's own array."""

    def update(self, rollout, *, progress=0.0):
        rollout.rewards.mul_(0.9)
        return super().update(rollout)


class OwnRandomness(Reinforce):
    """Draws from a generator that nobody seeded."""

    def update(self, rollout, *, progress=0.0):
        noise = random.SystemRandom().random()
        return super().update(rollout.replace(rewards=rollout.rewards + noise * rollout.values))


class CountsPadding(Reinforce):
    """Sums rewards beyond the end of the episode."""

    def advantages(self, rollout):
        returns = rollout.rewards.sum(1)
        return returns - returns.mean()


class LearnsFromPadding(Reinforce):
    """Forgets the mask in the loss."""

    def loss(self, rollout, advantages):
        parameters = self.policy.distribution_parameters(rollout)
        logprobs, _ = self.policy.logprobs_and_entropy(parameters, rollout.actions)
        return (-advantages[:, None] * logprobs).mean()


class ComparesWithACritic(Reinforce):
    """Learns from values that no critic is asked for."""

    def advantages(self, rollout):
        return super().advantages(rollout) - rollout.values[:, 0]


class JudgesTheCritic(Reinforce):
    """Reports of a critic that is not asked."""

    def update(self, rollout, *, progress=0.0):
        return super().update(rollout) | {"value_mean": float(rollout.values.mean())}


class DividesByDeviation(Reinforce):
    """Divides by a deviation that a single episode does not have."""

    def advantages(self, rollout):
        returns = masked_returns(rollout)
        centred = returns - returns.mean()
        return centred / (centred.square().sum() / (len(returns) - 1)).sqrt()


class ReshapesGroups(Reinforce):
    """Takes for granted that all groups are complete."""

    def advantages(self, rollout):
        groups = masked_returns(rollout).reshape(-1, 8)
        return (groups - groups.mean(1, keepdim=True)).flatten()


class AcceptsNaN(Reinforce):
    """Replaces what is not a number by 0."""

    def update(self, rollout, *, progress=0.0):
        names = ("rewards", "logprobs")
        rollout = rollout.replace(**{name: getattr(rollout, name).nan_to_num() for name in names})
        return super().update(rollout)


class NoticesTooLate(Reinforce):
    """Steps first and looks later."""

    def update(self, rollout, *, progress=0.0):
        self.step(self.loss(rollout, self.advantages(rollout)))
        require_finite(rollout, self.name)
        return {"policy_loss": 0.0}


class NoticesInTheLastBatch(Reinforce):
    """Checks each mini-batch, when its turn has come."""

    def update(self, rollout, *, progress=0.0):
        for rows in torch.arange(len(rollout)).split(64):
            super().update(rollout.select(rows))
        return {"policy_loss": 0.0}


class RaisesSomethingElse(Reinforce):
    """Raises what nobody expects."""

    def update(self, rollout, *, progress=0.0):
        try:
            return super().update(rollout)
        except NonFiniteError as error:
            raise ValueError("bad numbers") from error


class ForgetsTheOptimizer(Reinforce):
    """Loses Adam's averages."""

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


class ForgetsTheGenerator(Reinforce):
    """Shuffles with the right generator, and does not save its state."""

    def update(self, rollout, *, progress=0.0):
        require_finite(rollout, self.name)
        order = torch.randperm(len(rollout), generator=self.generator)
        return [Reinforce.update(self, rollout.select(rows)) for rows in order.split(8)][-1]


class ForgetsACoefficient(Reinforce):
    """Adapts a weight that no checkpoint holds."""

    weight = 1.0

    def loss(self, rollout, advantages):
        self.weight *= 0.9
        return self.weight * super().loss(rollout, advantages)


class SavesObjects(Reinforce):
    """Puts into its state what no checkpoint holds."""

    def state_dict(self):
        return {**super().state_dict(), "optimizer_object": self.optimizer}


class NeedsAnAuxiliaryLoss(Reinforce):
    """Calls what may be None."""

    def loss(self, rollout, advantages):
        return super().loss(rollout, advantages) + self.auxiliary_loss()


class KnowsArraysOnly(Reinforce):
    """Looks at observations, which a text has none of."""

    def loss(self, rollout, advantages):
        scale = rollout.observations.shape[-1]
        return super().loss(rollout, advantages) * scale


class PaysForPadding(Reinforce):
    """Adds up the divergence from the reference beyond the end of the episode."""

    def advantages(self, rollout):
        if rollout.ref_logprobs is None:
            return super().advantages(rollout)
        return super().advantages(rollout) - (rollout.logprobs - rollout.ref_logprobs).sum(1)


class IgnoresProgress(Reinforce):
    """Has no place for the progress."""

    def update(self, rollout):
        return super().update(rollout)


class Minimises(Reinforce):
    """Has the sign wrong."""

    def loss(self, rollout, advantages):
        return -super().loss(rollout, advantages)


class FlattensAdvantages(Reinforce):
    """Forgets what the rewards were for."""

    def advantages(self, rollout):
        return torch.ones(len(rollout))


@pytest.mark.parametrize(
    ("mutant", "reason"),
    [
        (DrawsGlobally, r"update\(\) used the global generator of torch"),
        (TensorMetrics, r"update\(\) returned 'policy_loss': tensor"),
        (NaNMetrics, r"update\(\) returned 'ratio': nan"),
        (NoMetrics, r"update\(\) returned NoneType"),
        (NeverSteps, "the actor's weights are the same after an update"),
        (OnlyCritic, "the actor's weights are the same after an update"),
        (ShapesInPlace, r"the rollout's arrays were changed at \.rewards"),
        (OwnRandomness, r"two equal updates differ in \['metrics'\]\['policy_loss'\]"),
        (CountsPadding, "garbage in the padding moved a weight by"),
        (LearnsFromPadding, "garbage in the padding moved a weight by"),
        (
            ComparesWithACritic,
            r"other values of the critic change \['metrics'\]\['policy_loss'\]\. Fix: set need",
        ),
        (JudgesTheCritic, r"other values of the critic change \['metrics'\]\['value_mean'\]"),
        (DividesByDeviation, "with 1 of 24 episodes policy_loss is not finite"),
        (ReshapesGroups, "lost its unscorable episodes, down to a single one: it raised RuntimeError: shape"),
        (AcceptsNaN, r"nan in rollout\.rewards was accepted"),
        (NoticesTooLate, r"nan in rollout\.rewards changed the weights \['actor\.weight'\]"),
        (NoticesInTheLastBatch, r"nan in rollout\.rewards changed the weights \['actor\.weight'\]"),
        (RaisesSomethingElse, r"nan in rollout\.rewards raised ValueError: bad numbers"),
        (ForgetsTheOptimizer, r"the update after restoring differs in \['weights'\]\['actor\.weight'\]"),
        (ForgetsTheGenerator, "the update after restoring differs in"),
        (ForgetsACoefficient, r"the update after restoring differs in \['metrics'\]\['policy_loss'\]"),
        (SavesObjects, r"its state_dict\(\) cannot be saved: .*Adam"),
        (NeedsAnAuxiliaryLoss, "it raised TypeError: 'NoneType' object is not callable"),
        (KnowsArraysOnly, "from a rollout of text, .*: it raised AttributeError: 'NoneType' object has no"),
        (PaysForPadding, "garbage in the padding moved a weight by"),
        (IgnoresProgress, "unexpected keyword argument 'progress'"),
        (Minimises, r"20 updates took the probability of the better arm from 0\.5 to 0\.0"),
        (FlattensAdvantages, "updates took the probability of the better arm from 0.5 to"),
    ],
)
def test_what_is_wrong_is_named(mutant, reason):
    with pytest.raises(AssertionError, match=reason):
        check_algorithm(mutant)


def test_an_algorithm_on_the_cores_own_gradient_step_passes():
    class Careful(Reinforce):
        """Takes its steps as the built-in ones do."""

        def update(self, rollout, *, progress=0.0):
            from contextlib import nullcontext

            from rltk.training import Batch

            require_finite(rollout, self.name)
            advantages = self.advantages(rollout)
            return gradient_step(
                self.optimizer,
                Batch([rollout], 1.0),
                lambda part: self.loss(part, advantages),
                max_grad_norm=1.0,
                where=self.name,
                autocast=nullcontext,
            )

    check_algorithm(Careful)


def test_every_check_says_what_it_holds_an_algorithm_to():
    titles = [title(check) for check in ALGORITHM_CHECKS]
    assert len(set(titles)) == len(titles)
    assert all(len(line) < 110 and line[0].isupper() for line in titles)
