"""The weighted sum against sums by hand, its parts' lives, and mistakes deep inside its config."""

import pytest
from pydantic import Field

import rltk
from rltk.config import load_recipe
from rltk.errors import NonFiniteError, UserError
from rltk.registry import Registry, get_registry
from rltk.scoring import in_use, reward_metrics, score_episodes

EPISODES = [
    rltk.Episode("p", "one two", response_tokens=(5, 6, 1)),
    rltk.Episode("p", "one", response_tokens=(5, 1)),
    rltk.Episode("p", "", response_tokens=(1,)),
]
CALLS: list[tuple[str, str]] = []


class Part(rltk.RewardModel):
    """Answers what it is told and notes what is called."""

    name = "part"
    answers: dict[str, list] = {}

    class Config(rltk.ComponentConfig):
        label: str = Field("", description="Which answers to give.")

    def __init__(self, config, *, device=None, tokenizer=None):
        super().__init__(config)
        self.device, self.tokenizer = device, tokenizer

    async def setup(self):
        CALLS.append((self.config.label, "setup"))
        if self.config.label == "refuses":
            raise ConnectionError("no server")

    def score(self, episodes):
        return self.answers[self.config.label]

    def metrics(self):
        return {"cost": 3.0} if self.config.label == "b" else {}

    def close(self):
        CALLS.append((self.config.label, "close"))


class Heavy(rltk.RewardModel):
    """Has an option of a name that the sum needs for itself."""

    name = "heavy"

    class Config(rltk.ComponentConfig):
        weight: float = Field(1.0, description="Of the reward itself.")

    def score(self, episodes):
        return [0.0] * len(episodes)


class Plugin:
    @rltk.hookimpl
    def rltk_reward_models(self):
        return [Part, Heavy]


@pytest.fixture(autouse=True)
def plugin(monkeypatch):
    monkeypatch.setattr("rltk.registry._current", Registry(get_registry().sources))
    get_registry().register(Plugin(), "parts")
    CALLS.clear()
    yield
    get_registry().unregister("parts")


def weighted(answers, weights, **options):
    Part.answers = answers
    rewards = {key: {"name": "part", "label": key, "weight": weights[key]} for key in answers}
    return rltk.create("reward_model", "weighted_sum", rewards=rewards, **options)


def test_numbers_add_up_by_weight():
    reward = weighted({"a": [1, 2, 3], "b": [10, 20, 30]}, {"a": 2.0, "b": -0.5})
    assert score_episodes(reward, EPISODES) == [2 - 5, 4 - 10, 6 - 15]


def test_numbers_are_added_at_the_last_token_of_those_that_pay_each():
    answers = {"a": [[1, 2, 3], 4, [5]], "b": [[1, 1, 1], [2, 2], 6], "c": [7, 7, 7]}
    reward = weighted(answers, {"a": 1.0, "b": 10.0, "c": 0.5})
    assert score_episodes(reward, EPISODES) == [[11, 12, 13 + 3.5], [20, 20 + 4 + 3.5], [5 + 60 + 3.5]]


def test_an_episode_without_tokens_gets_one_number():
    reward = weighted({"a": [[]], "b": [2]}, {"a": 1.0, "b": 3.0})
    assert score_episodes(reward, [rltk.Episode("p", "")]) == [6.0]


@pytest.mark.parametrize(
    ("missing", "expected"), [("unscorable", [None, None, 33.0]), ("skip", [30.0, None, 33.0])]
)
def test_what_none_of_a_part_means_is_chosen(missing, expected):
    reward = weighted({"a": [None, None, 3], "b": [3, None, 3]}, {"a": 1.0, "b": 10.0}, missing=missing)
    assert score_episodes(reward, EPISODES) == expected


def test_each_part_is_logged_apart_before_weighting():
    answers = {"a": [1, None, 3], "b": [[1, 2, 3], 2, 4], "c": [None, None, None]}
    reward = weighted(answers, {"a": 5.0, "b": 5.0, "c": 5.0})
    score_episodes(reward, EPISODES)
    assert reward_metrics(reward) == {
        "a": 2.0,
        "a/unscorable": pytest.approx(1 / 3),
        "b": 4.0,
        "b/unscorable": 0.0,
        "b/cost": 3.0,
        "c/unscorable": 1.0,
    }
    assert score_episodes(reward, []) == [] == reward.score([])


def test_parts_are_set_up_in_order_and_closed_in_reverse():
    with in_use(weighted({"a": [1], "b": [1]}, {"a": 1.0, "b": 1.0})):
        assert CALLS == [("a", "setup"), ("b", "setup")]
    assert CALLS[2:] == [("b", "close"), ("a", "close")]


def test_a_part_whose_setup_fails_closes_those_before_it():
    reward = weighted({"a": [1], "refuses": [1], "b": [1]}, {"a": 1.0, "refuses": 1.0, "b": 1.0})
    message = (
        r"^reward 'part' of plugin 'parts' \(this program\), setup\(\): it raised ConnectionError: no serv"
    )
    with pytest.raises(UserError, match=message), in_use(reward):
        pass
    assert CALLS == [("a", "setup"), ("refuses", "setup"), ("a", "close")]


def test_parts_get_the_collaborators_that_they_name():
    tokenizer = object()
    rewards = {"a": {"name": "part"}, "b": {"name": "length"}}
    options = {"device": "meta", "tokenizer": tokenizer}
    part = rltk.create("reward_model", "weighted_sum", rewards=rewards, **options).parts["a"]
    assert part.device == "meta" and part.tokenizer is tokenizer


@pytest.mark.parametrize(
    ("answer", "kind", "what"),
    [
        ([1], UserError, "it returned 1 scores for 3 episodes"),
        ([1, float("nan"), 1], NonFiniteError, "a score is not finite"),
    ],
)
def test_a_part_that_breaks_its_contract_is_named(answer, kind, what):
    with pytest.raises(kind) as error:
        score_episodes(weighted({"a": [1, 1, 1], "b": answer}, {"a": 1.0, "b": 1.0}), EPISODES)
    assert error.value.where == "reward 'part' of plugin 'parts' (this program), part 'b'"
    assert error.value.what == what


CHOSEN = [
    "rl.reward.rewards.polite.name=length",
    "rl.reward.rewards.polite.weight=2",
    "rl.reward.name=weighted_sum",
    "rl.reward.rewards.brief={name: length, target: 3, weight: -1}",
]


def rl_reward(*overrides):
    recipe = load_recipe("instructgpt-tiny", [*CHOSEN, *overrides])
    return recipe.stages["rl"].options["reward"]


def test_it_is_configured_by_overrides_in_any_order_with_every_default_spelt_out():
    expected = {
        "name": "weighted_sum",
        "rewards": {
            "polite": {"name": "length", "weight": 2.0, "target": 20, "per": "token"},
            "brief": {"name": "length", "weight": -1.0, "target": 3, "per": "token"},
        },
        "missing": "unscorable",
    }
    assert rl_reward() == expected == rl_reward("rl.reward.missing=unscorable")
    assert rl_reward("rl.reward.rewards.brief.weight=0.5")["rewards"]["brief"]["weight"] == 0.5


def test_it_is_configured_in_yaml(tmp_path):
    (tmp_path / "recipe.yaml").write_text(
        "environment: {name: instruct}\n"
        "stages:\n"
        "  rl:\n"
        "    stage: rl\n"
        "    policy: {name: causal_lm, path: somewhere}\n"
        "    reward:\n"
        "      name: weighted_sum\n"
        "      rewards:\n"
        "        inner: {name: weighted_sum, weight: 0.5, rewards: {a: {name: length, per: word}}}\n"
    )
    recipe = load_recipe(tmp_path / "recipe.yaml", ["rl.reward.rewards.inner.rewards.a.weight=3"])
    inner = recipe.stages["rl"].options["reward"]["rewards"]["inner"]
    assert inner["weight"] == 0.5 and inner["rewards"]["a"]["weight"] == 3.0
    reward = rltk.create("reward_model", "weighted_sum", rewards={"inner": inner})
    assert score_episodes(reward, EPISODES) == pytest.approx([0.15, 0.075, 0.0])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("rewards.brief.targt=3", "rewards.brief.targt: unknown key. Fix: did you mean 'target'."),
        ("rewards.brief.wieght=3", "rewards.brief.wieght: unknown key. Fix: did you mean 'weight'."),
        ("rewards.brief.name=lenght", "rewards.brief.name: unknown reward_model, got 'lenght'. Fix: did you"),
        ("rewards.brief.weight=heavy", "rewards.brief.weight: should be a valid number"),
        ("rewards.brief.weight=.inf", "rewards.brief.weight: should be a finite number, got inf"),
        ("rewards.other.weight=1", "rewards.other.name: missing. Fix: set it"),
        ("mising=skip", "mising: unknown key. Fix: did you mean 'missing'."),
        ("rewards.h={name: heavy}", "rewards.h.weight: 'heavy' has an option of this name, which means"),
    ],
)
def test_a_mistake_deep_inside_is_one_line_before_anything_runs(override, message):
    with pytest.raises(UserError) as error:
        rl_reward(f"rl.reward.{override}")
    assert str(error.value).startswith(f"rl.reward.{message}") and "\n" not in str(error.value)


def test_a_sum_of_nothing_is_refused():
    with pytest.raises(UserError, match=r"^rl\.reward\.rewards: dictionary should have at least 1 item"):
        load_recipe("instructgpt-tiny", ["rl.reward={name: weighted_sum, rewards: {}}"])
