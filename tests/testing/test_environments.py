"""check_environment passes what keeps the contract, and says of each breach what it is."""

import random
import re
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from pydantic import Field

import rltk
from rltk.testing import check_environment
from rltk.testing.tiny_text import LikesBrevity, TinyText
from rltk_envs.text_generation import TextGenerationVectorEnv
from tests.testing.environment_worlds import Echo, Line, Walk, fresh_noise

BROKEN = []


def breach(pattern):
    """Collect a class with one thing broken, and what the check must say of it."""

    def collect(cls):
        BROKEN.append(pytest.param(cls, pattern, id=cls.__name__))
        return cls

    return collect


@pytest.mark.parametrize("environment", [TinyText, Line])
def test_environments_that_keep_the_contract_pass(environment):
    done = []
    check_environment(environment, progress=lambda title, error: done.append((title, error)))
    assert len(done) > 25 and all(error is None for _, error in done)


def test_registered_names_and_options_are_taken():
    check_environment("gymnasium", {"id": "MountainCarContinuous-v0"})
    with pytest.raises(AssertionError, match=r"'gymnasium'.*without the options id \(Registered"):
        check_environment("gymnasium", {})


def test_a_check_in_a_process_of_its_own_finds_the_ids_of_plugins():
    code = "from rltk.testing import check_environment; from rltk.testing.tiny_text import TinyText"
    subprocess.run([sys.executable, "-c", f"{code}; check_environment(TinyText)"], check=True)


def test_an_environment_with_nothing_but_acting_passes():
    class Mute(Line):
        """Says nothing."""

    check_environment(Mute)


@pytest.mark.parametrize("space", [gym.spaces.Discrete(2), gym.spaces.MultiDiscrete([2])])
def test_only_actions_that_are_allowed_are_tried(space):
    class Fenced(Line):
        """A walk on the right half of the line."""

        class walk(Walk):  # noqa: N801
            action_space = space

            def reset(self, *, seed=None, options=None):
                observation, _ = super().reset(seed=seed)
                return observation, self.allowed()

            def step(self, action):
                assert self.allowed()["action_mask"][int(np.squeeze(action))], "not allowed"
                observation, reward, terminated, truncated, _ = super().step(np.squeeze(action))
                return observation, reward, terminated, truncated, self.allowed()

            def allowed(self):
                return {"action_mask": np.array([self.place > 3, True], dtype=np.int8)}

    check_environment(Fenced)


def test_a_text_environment_without_prompts_of_its_own_passes():
    class Lent(rltk.Environment):
        """Deals what it is given, or words of its own."""

        name = "lent"

        def make_vec(self, num_envs, *, split="train", **options):
            return TextGenerationVectorEnv(num_envs, **{"prompts": ["w3", "w4 w5"], **options})

    check_environment(Lent)


def test_validation_may_stand_in_for_test_but_not_train():
    class NoTest(Echo):
        """Has no test prompts."""

        def prompts(self, split):
            return super().prompts("validation" if split == "test" else split)

    class NoValidation(Echo):
        """Validates on what it trains on."""

        def prompts(self, split):
            return super().prompts("train" if split == "validation" else split)

    check_environment(NoTest)
    with pytest.raises(AssertionError, match=r"prompts\('train'\) and prompts\('validation'\) share 9"):
        check_environment(NoValidation)


class Wrapped(Line):
    """Lets a subclass change what a vector environment answers."""

    def make_vec(self, num_envs, *, split="train", **options):
        envs = super().make_vec(num_envs)
        self.change(envs)
        return envs


@breach(r"make_vec\(1\) returned 'no vector'. Fix: return a gymnasium.vector.VectorEnv")
class NoVectorEnvironment(Line):
    def make_vec(self, num_envs, *, split="train", **options):
        return "no vector"


@breach(r"make_vec\(1\) has 2 slots. Fix: hand num_envs on")
class OtherNumberOfSlots(Line):
    def make_vec(self, num_envs, *, split="train", **options):
        return super().make_vec(2)


@breach("autoreset_mode.*NEXT_STEP.*not AutoresetMode.SAME_STEP")
class NextStep(Line):
    mode = AutoresetMode.NEXT_STEP


@breach(r"spaces\(\) gives the action space Discrete\(3\), make_vec\(\) has Discrete\(2\)")
class OtherSpaces(Line):
    def spaces(self):
        return Walk.observation_space, gym.spaces.Discrete(3)


@breach(r"spaces\(\) gives the observation space Box\(-2.0, .*, make_vec\(\) has Box\(-1.0")
class NarrowerThanSaid(Line):
    def spaces(self):
        return gym.spaces.Box(-2.0, 11.0, (2,), np.float32), Walk.action_space


@breach(r"spaces\(\) is None, and make_vec\(\) gives no text environment")
class ClaimsToBeText(Line):
    def spaces(self):
        return None


@breach(r"spaces\(\) is not None, and make_vec\(\) gives a text environment")
class ClaimsNotToBeText(Echo):
    def spaces(self):
        return Walk.observation_space, Walk.action_space


@breach(r"the constructor used the global generator of random")
class RandomConstructor(Line):
    def __init__(self, config, *, seed):
        super().__init__(config, seed=seed)
        self.number = random.random()


@breach(r"make_vec\(\) used the global generator of numpy")
class SeedsGlobally(Wrapped):
    def change(self, envs):
        np.random.seed(self.seed)


@breach(r"reset\(\) or step\(\) used the global generator of numpy")
class GlobalSteps(Line):
    class walk(Walk):  # noqa: N801
        def step(self, action):
            np.random.random()
            return super().step(action)


@breach(r"the observations of reset\(\) are not in observation_space: array\(\[\[2\d\., 2\d\.\]")
class OutOfSpace(Line):
    class walk(Walk):  # noqa: N801
        def observe(self):
            return super().observe() + 20


@breach(r"step\(\) returned the rewards .*Fix: return a NumPy array of floats")
class ListOfRewards(Wrapped):
    def change(self, envs):
        def step(actions, inner=envs.step):
            observations, rewards, *rest = inner(actions)
            return observations, rewards.tolist(), *rest

        envs.step = step


@breach("a reward is not finite")
class InfiniteReward(Line):
    class walk(Walk):  # noqa: N801
        def step(self, action):
            observation, _, *rest = super().step(action)
            return observation, float("inf"), *rest


@breach(r"the observations of reset\(\) are others in a second make_vec\(\)")
class NeverTheSame(Line):
    class walk(Walk):  # noqa: N801
        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.place = int(fresh_noise().integers(1, 10))
            return self.observe(), {}


@breach(r"the rewards of step \d+ are others after reset\(seed=0\)")
class GrowsTired(Line):
    class walk(Walk):  # noqa: N801
        steps = 0

        def step(self, action):
            observation, reward, *rest = super().step(action)
            self.steps += 1
            return observation, reward - self.steps, *rest


@breach(r"are others in a second environment with the same options and seed")
class CountsEnvironments(Line):
    made = 0

    def __init__(self, config, *, seed):
        super().__init__(config, seed=seed)
        CountsEnvironments.made += 1
        number = CountsEnvironments.made

        class Paid(Walk):
            def step(self, action):
                observation, _, *rest = super().step(action)
                return observation, float(number), *rest

        self.walk = Paid


@breach("the seeds 0 to 8 all give the same observations")
class IgnoresTheSeed(Line):
    class walk(Walk):  # noqa: N801
        count = 0

        def reset(self, *, seed=None, options=None):
            gym.Env.reset(self, seed=seed)
            self.count = 0 if seed is not None else self.count + 1
            self.place = 3 + self.count % 5
            return self.observe(), {}


@breach("the seeds 0 to 8 all give the same observations")
class DealsInOneOrder(Echo):
    def make_vec(self, num_envs, *, split="train", **options):
        return super().make_vec(num_envs, split=split, **{**options, "shuffle": False})


@breach("observations changed after they were returned")
class WritesOver(Wrapped):
    def change(self, envs):
        shared = np.zeros((envs.num_envs, 2), dtype=np.float32)

        def share(answer):
            shared[:] = answer[0]
            return shared, *answer[1:]

        def step(actions, inner=envs.step):
            return share(inner(actions))

        def reset(*, seed=None, options=None, inner=envs.reset):
            return share(inner(seed=seed))

        envs.step, envs.reset = step, reset


@breach(r'infos\["final_obs"\] is None')
class ForgetsTheEnd(Wrapped):
    def change(self, envs):
        def step(actions, inner=envs.step):
            *answer, infos = inner(actions)
            return *answer, {key: value for key, value in infos.items() if "final_obs" not in key}

        envs.step = step


@breach("are others while another one was acted in and closed")
class Shares(Line):
    class walk(Walk):  # noqa: N801
        memory = {"paid": 0}

        def reset(self, *, seed=None, options=None):
            if seed is not None:
                self.memory["paid"] = 0
            return super().reset(seed=seed)

        def step(self, action):
            observation, _, *rest = super().step(action)
            self.memory["paid"] += 1
            return observation, float(self.memory["paid"]), *rest


@breach("The single environments inside pass gymnasium.utils.env_checker")
class FailsGymnasiumsCheck(Line):
    class walk(Walk):  # noqa: N801
        def step(self, action):
            observation, reward, terminated, _, info = super().step(action)
            return observation, reward, terminated, 0, info


class Changed(Echo):
    """Lets a subclass change the class of the vector environment."""

    envs = TextGenerationVectorEnv

    def make_vec(self, num_envs, *, split="train", **options):
        given = {"prompts": self.prompts(split), "tokenizer": self.build_tokenizer(), "max_new_tokens": 5}
        return self.envs(num_envs, template="{prompt} w28", **{**given, **options})


@breach("a response of EOS alone ended as Episode")
class GoesOnAfterEos(Changed):
    class envs(TextGenerationVectorEnv):  # noqa: N801
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self._slots._eos = -1


class Retold(TextGenerationVectorEnv):
    """Tells of its episodes what `retell` makes of them."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        tell = self._slots.episode
        self._slots.episode = lambda *args, **kwargs: self.retell(tell(*args, **kwargs))


@breach("a response of EOS alone reads '<eos>'")
class ShowsEos(Changed):
    class envs(Retold):  # noqa: N801
        def retell(self, episode):
            shown = self.tokenizer.decode(episode.response_tokens)
            return rltk.Episode(**{**vars(episode), "response": shown})


def without(option):
    """Return an Echo that forgets to pass an option on."""

    class Forgets(Echo):
        def make_vec(self, num_envs, *, split="train", **options):
            options.pop(option, None)
            return super().make_vec(num_envs, split=split, **options)

    Forgets.__name__ = f"forgets_{option}"
    return Forgets


breach("with max_new_tokens=2 a response of 5 tokens ended as cut off")(without("max_new_tokens"))
breach(r"with stop=\('w0',\) a response ended as cut off: 'w0 w0")(without("stop"))
breach("it dealt 'w0' where it should deal 'w6'")(without("prompts"))
breach("it dealt 'w.*' where it should deal 'w6'")(without("shuffle"))
breach("deals a prompt three times in a row")(without("group_size"))
breach("a reward of .* was paid as 0.0")(without("reward"))


@breach(r"the policy reads 'w0 w28' where prefix and format_prompt\(\) say 'w0 w27'")
class TwoTemplates(Echo):
    def make_vec(self, num_envs, *, split="train", **options):
        return super().make_vec(num_envs, split=split, template="{prompt} w28", **options)

    def format_prompt(self, prompt):
        return f"{prompt} w27"


@breach("Episode.columns lacks number, rltk_check of the row")
class DropsColumns(Echo):
    def make_vec(self, num_envs, *, split="train", **options):
        rows = options.pop("prompts", None) or self.prompts(split)
        kept = [{key: row[key] for key in ("prompt", "prefix") if key in row} for row in rows]
        return super().make_vec(num_envs, split=split, prompts=kept, **options)


@breach(r"make_vec\(split='validation'\) dealt \['w.*'\], which prompts\('validation'\) lacks")
class AlwaysTrains(Echo):
    def make_vec(self, num_envs, *, split="train", **options):
        return super().make_vec(num_envs, split="train", **options)


@breach("with reward=None it paid")
class AlwaysPays(Echo):
    def make_vec(self, num_envs, *, split="train", **options):
        reward = options.pop("reward", None) or (lambda episodes: [1.0] * len(episodes))
        return super().make_vec(num_envs, split=split, reward=reward, **options)


@breach("columns of episode 0 is .* with one slot and .* with 2")
class DependsOnSlots(Changed):
    class envs(Retold):  # noqa: N801
        def retell(self, episode):
            return rltk.Episode(**{**vars(episode), "columns": {**episode.columns, "slots": self.num_envs}})


@breach(r'in one go and .* when reset\(options={"first_episode": 5}\) came before')
class BeginsAnew(Changed):
    class envs(Retold):  # noqa: N801
        def reset(self, *, seed=None, options=None):
            answer = super().reset(seed=seed, options=options)
            first = (options or {}).get("first_episode", 0)
            self.first = first
            return answer

        def retell(self, episode):
            return rltk.Episode(**{**vars(episode), "columns": {**episode.columns, "first": self.first}})


@breach("it raises NotImplementedError. Fix: leave the method out")
class NotImplementedYet(Line):
    def prompts(self, split):
        raise NotImplementedError


@breach("it raised KeyError")
class RaisesSomethingElse(Line):
    def demonstrations(self, split):
        raise KeyError(split)


@breach(r"labelers\(\) used the global generator of random")
class ShufflesGlobally(Echo):
    def labelers(self, group):
        chosen = super().labelers(group)
        random.shuffle(chosen)
        return chosen


@breach(r"prompts\('train'\) returned tuple")
class TupleOfRows(Line):
    def prompts(self, split):
        return tuple(Echo.prompts(self, split))


@breach(r"demonstrations\('train'\)\[0\]\['response'\] is None")
class NoResponse(Line):
    def demonstrations(self, split):
        return Echo.prompts(self, split)


@breach(r"prompts\('train'\)\[0\] cannot be written as JSON")
class HoldsASet(Line):
    def prompts(self, split):
        return [{**row, "words": {1, 2}} for row in Echo.prompts(self, split)]


@breach(r"\['words'\] comes back from JSON as \[1, 2\]")
class HoldsATuple(Line):
    def prompts(self, split):
        return [{**row, "words": (1, 2)} for row in Echo.prompts(self, split)]


@breach(r"demonstrations\('train'\)\[0\] has an empty response to 'w0'")
class EmptyResponse(Echo):
    def demonstrations(self, split):
        return [{**row, "response": " "} for row in self.prompts(split)]


@breach(r"comparisons\('train'\)\[0\] has the ranks \[0, 1, 1\]")
class RanksFromZero(Echo):
    def comparisons(self, split):
        return [{**row, "ranks": [0, 1, 1]} for row in super().comparisons(split)]


@breach(r"comparisons\('train'\)\[0\] has the ranks \[1, 2\] for 3 responses")
class TooFewRanks(Echo):
    def comparisons(self, split):
        return [{**row, "ranks": [1, 2]} for row in super().comparisons(split)]


@breach(r"comparisons\('train'\)\[0\] has the responses \['w1'\]")
class OneResponse(Echo):
    def comparisons(self, split):
        return [{**row, "responses": ["w1"], "ranks": [1]} for row in super().comparisons(split)]


@breach(r"document 0 of corpus\('train'\) is ''")
class EmptyDocument(Line):
    def corpus(self, split):
        yield ""


@breach(r"corpus\('train'\) gives something else on a second call")
class CorpusOnce(Line):
    def corpus(self, split):
        self.read = getattr(self, "read", 0) + 1
        yield f"document {self.read}"


@breach(r"demonstrations\('train'\) gives something else in a new environment")
class DrawsItsOwn(Echo):
    def __init__(self, config, *, seed):
        super().__init__(config, seed=seed)
        self.noise = int(fresh_noise().integers(10**9))

    def demonstrations(self, split):
        return [{**row, "number": self.noise} for row in super().demonstrations(split)]


@breach("uses its EOS token for padding")
class PadsWithEos(Line):
    def build_tokenizer(self):
        tokenizer = Echo.build_tokenizer(self)
        tokenizer.pad_token = tokenizer.eos_token
        return tokenizer


@breach("gives another vocabulary in a new environment")
class GrowsItsVocabulary(Echo):
    def __init__(self, config, *, seed):
        super().__init__(config, seed=seed)
        self.token = f"<{fresh_noise().integers(10**9)}>"

    def build_tokenizer(self):
        tokenizer = super().build_tokenizer()
        tokenizer.add_tokens([self.token])
        return tokenizer


@breach(r"'w0 weather' holds words that build_tokenizer\(\) does not know")
class UnknownWords(Echo):
    def demonstrations(self, split):
        return [{**row, "response": f"{row['prompt']} weather"} for row in self.prompts(split)]


@breach(r"few_shot_prefix\(\) leaves out the response \['w1 w1'\]")
class ShowsOneExample(Echo):
    def few_shot_prefix(self, demonstrations):
        return super().few_shot_prefix(demonstrations[:1])


@breach("more than one labeler is ann")
class TrainsAndEvaluates(Echo):
    def labelers(self, group):
        return super().labelers("train")[:1]


def with_labeler(name, rank):
    """Return an Echo whose labelers rank by a function."""
    labeler = type("Labeler", (LikesBrevity,), {"rank": rank})

    class Ranked(Echo):
        def labelers(self, group):
            return [labeler("ann")] if group == "train" else []

    Ranked.__name__ = name
    return Ranked


breach(r"labeler 'ann' gave the ranks \[0, 1, 2")(
    with_labeler("ranks_from_zero", lambda self, episodes, generator: list(range(len(episodes))))
)
breach(r"labeler 'ann' gave the ranks \[1\] for \d responses")(
    with_labeler("names_the_best", lambda self, episodes, generator: [1])
)
breach("ranked the same responses .* with equal generators")(
    with_labeler(
        "draws_its_own",
        lambda self, episodes, generator: (1 + fresh_noise().permutation(len(episodes))).tolist(),
    )
)
breach(r"rank\(\) of labeler 'ann' used the global generator of numpy")(
    with_labeler(
        "draws_globally",
        lambda self, episodes, generator: (1 + np.random.permutation(len(episodes))).tolist(),
    )
)


def with_metrics(name, metrics):
    """Return an Echo with these metrics."""
    return type(name, (Echo,), {"metrics": metrics})


breach("holds 'utility': nan")(with_metrics("not_finite", lambda self, episode: {"utility": float("nan")}))
breach("it raised ZeroDivisionError")(
    with_metrics("divides_by_length", lambda self, episode: {"share": 1 / len(episode.response)})
)
breach(r"metrics\(\) of the same episode are")(
    with_metrics("noisy", lambda self, episode: {"utility": float(fresh_noise().uniform())})
)
breach("texts of the episode were changed at .columns")(
    with_metrics("writes", lambda self, episode: episode.columns.update(seen=True) or {})
)


@breach("Every option is described")
class UndescribedOption(Line):
    class Config(rltk.ComponentConfig):
        size: int = Field(3)


@pytest.mark.parametrize(("environment", "pattern"), BROKEN)
def test_a_breach_is_told(environment, pattern):
    environment.__doc__ = environment.__doc__ or "Broken."
    with pytest.raises(AssertionError) as caught:
        check_environment(environment)
    message = str(caught.value)
    assert message.startswith(f"environment {environment.name!r}: ")
    assert re.search(pattern, message), message
