"""The contract of reward models: good ones pass, and each way of breaking it is named."""

import asyncio
import random

import pytest
import torch

import rltk
from rltk.episode import Episode
from rltk.testing import check_reward_model
from rltk.testing.worlds import awkward_episodes


class Words(rltk.RewardModel):
    """Pays a point a word."""

    name = "words"

    def score(self, episodes):
        return [float(len(episode.response.split())) for episode in episodes]


class PerToken(Words):
    """Pays every token by its id; leaves empty responses out."""

    def score(self, episodes):
        return [[0.1 * token for token in e.response_tokens] if e.response else None for e in episodes]


class Client(Words):
    """Asks a client that it opens and closes, all of it async, and logs."""

    opened = 0

    async def setup(self):
        self.loop = asyncio.get_running_loop()
        type(self).opened += 1

    async def score(self, episodes):
        assert asyncio.get_running_loop() is self.loop
        await asyncio.sleep(0)
        return [float(len(episode.response)) for episode in episodes]

    def metrics(self):
        return {"requests": 1.0}

    async def close(self):
        type(self).opened -= 1


@rltk.reward
def polite(episode):
    """Pays for manners."""
    return float("please" in episode.response)


@pytest.mark.parametrize("good", [Words, PerToken, Client, polite])
def test_good_rewards_pass(good):
    check_reward_model(good)
    assert Client.opened == 0


def test_a_registered_reward_passes_by_name():
    check_reward_model("length", {"per": "word"})


class OneTooFew(Words):
    """Drops empty responses."""

    def score(self, episodes):
        return [1.0 for episode in episodes if episode.response]


class NotANumber(Words):
    """Divides by nothing, as tensors can."""

    def score(self, episodes):
        return [float(torch.tensor(0.0) / len(episode.response.split())) for episode in episodes]


class ShortOfTokens(Words):
    """Forgets that EOS is a token."""

    def score(self, episodes):
        return [[1.0] * len(episode.response.split()) for episode in episodes]


class FailsOnNothing(Words):
    """Cannot do without an episode."""

    def score(self, episodes):
        longest = max(len(episode.response) for episode in episodes)
        return [float(bool(longest))] * len(episodes)


class AnswersNothing(Words):
    """Answers even where nothing was asked."""

    def score(self, episodes):
        return super().score(episodes) or [0.0]


class Mutating(Words):
    """Notes its score in the row."""

    def score(self, episodes):
        for episode in episodes:
            episode.columns["words"] = 1
        return super().score(episodes)


class Noisy(Words):
    """Breaks ties by the global generator."""

    def score(self, episodes):
        return [score + 1e-9 * random.random() for score in super().score(episodes)]


class Seeding(Words):
    """Seeds the global generator on the way."""

    def score(self, episodes):
        torch.manual_seed(0)
        return super().score(episodes)


class Growing(Words):
    """Pays more with every call."""

    calls = 0

    def score(self, episodes):
        self.calls += 1
        return [score + self.calls for score in super().score(episodes)]


class FirstComes(Words):
    """Pays the first of the batch more."""

    def score(self, episodes):
        return [score + (index == 0) for index, score in enumerate(super().score(episodes))]


class Relative(Words):
    """Pays compared with the longest of the batch."""

    def score(self, episodes):
        scores = super().score(episodes)
        return [score / max(1.0, *scores) for score in scores]


class Sorting(Words):
    """Returns scores in another order than it was given episodes."""

    def score(self, episodes):
        return sorted(super().score(episodes))


class Texts(Words):
    """Logs a text."""

    def metrics(self):
        return {"state": "fine"}


class Endless(Words):
    """Logs an infinite number."""

    def metrics(self):
        return {"ratio": float("inf")}


class ClosesOnlyAfterUse(Words):
    """Trips when it is closed unused."""

    def setup(self):
        self.log = None

    def score(self, episodes):
        self.log = []
        return super().score(episodes)

    def close(self):
        self.log.clear()


class RandomlyMade(Words):
    """Draws on being made."""

    def __init__(self, config):
        super().__init__(config)
        self.number = random.random()


@pytest.mark.parametrize(
    ("mutant", "reason"),
    [
        (OneTooFew, r"a finite number, one a response token, or None: .*6 scores for 8 episodes"),
        (NotANumber, "not finite"),
        (ShortOfTokens, "token"),
        (FailsOnNothing, r"score\(\[\]\) raised ValueError.* Fix: return \[\] for no episodes"),
        (AnswersNothing, r"score\(\[\]\) returned \[0\.0\]"),
        (Mutating, r"the episodes were changed at \[0\]\.columns"),
        (Noisy, r"score\(\) used the global generator of random"),
        (Seeding, r"score\(\) used the global generator of torch"),
        (Growing, r"the same twice: episode 0 got \d+ the first time and \d+ the second time"),
        (FirstComes, "do not depend on the order of episodes: episode 0 got 4 in one order and 3 in the rev"),
        (Sorting, "do not depend on the order of episodes: "),
        (Relative, r"episode 0 got 1 alone and 0\.25 in a batch of 8\. Fix: score each episode by itself"),
        (Texts, r"metrics\(\) holds 'state': 'fine'"),
        (Endless, r"metrics\(\) holds 'ratio': inf"),
        (ClosesOnlyAfterUse, "closes, also when nothing was scored: it raised AttributeError"),
        (RandomlyMade, "the constructor used the global generator of random"),
    ],
)
def test_what_is_wrong_is_named(mutant, reason):
    with pytest.raises(AssertionError, match=reason):
        check_reward_model(mutant)


def test_episodes_of_the_authors_own_are_used():
    class Exact(Words):
        """Needs a gold answer."""

        def score(self, episodes):
            return [float(episode.response == episode.columns["gold"]) for episode in episodes]

    with pytest.raises(AssertionError, match="KeyError: 'gold'"):
        check_reward_model(Exact)
    check_reward_model(Exact, episodes=[Episode("a", x, columns={"gold": "b"}) for x in "abc"])


def test_a_reward_is_closed_after_a_failed_check():
    class Leaky(Client):
        """Fails to score, after it was opened."""

        opened = 0

        async def score(self, episodes):
            raise RuntimeError("no answer")

    with pytest.raises(AssertionError, match="no answer"):
        check_reward_model(Leaky)
    assert Leaky.opened == 0


def test_awkward_episodes_hold_the_awkward_cases():
    episodes = awkward_episodes()
    assert any(not episode.response_tokens for episode in episodes)
    assert any(episode.response_tokens == (1,) for episode in episodes)
    assert any(episode.truncated for episode in episodes)
    assert any(not episode.prompt_tokens for episode in episodes)
    assert any(not episode.response.isascii() for episode in episodes)
    assert any(episode.columns for episode in episodes)
    assert len({(episode.prompt, episode.response) for episode in episodes}) < len(episodes)
