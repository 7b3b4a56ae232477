"""Every figure of the evaluate stage against a figure computed another way."""

import contextlib
import json
import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from pydantic import ValidationError

from rltk.errors import UserError
from rltk.interfaces import Environment
from rltk.models import save_model
from rltk.rng import seeded_initialisation
from rltk.types import Action
from rltk_envs.text_generation import TextGenerationVectorEnv
from rltk_policies.causal_lm.policy import CausalLMPolicy
from rltk_stages.evaluate import Evaluate
from tests.text_world import WORDS, tiny_model, word_tokenizer

ROWS = [
    {"prompt": f"w{i} w{i + 1}", "use_case": "chat" if i % 3 else "qa", "gold": f"w{i}"} for i in range(20)
]
DOCUMENTS = [f"w{i} w{(3 * i) % 29} w{(5 * i) % 29}" for i in range(29)]


class LikesLength:
    """Prefers the longer response; calls equal lengths a tie."""

    name = "likes_length"

    def rank(self, episodes, generator):
        lengths = [len(episode.response.split()) for episode in episodes]
        return [1 + sum(other > length for other in lengths) for length in lengths]


class LikesTheFirst:
    """Prefers whatever is shown first, which must not help anybody."""

    name = "likes_the_first"

    def rank(self, episodes, generator):
        return list(range(1, len(episodes) + 1))


class World(Environment):
    """Twenty prompts whose utility is the share of even-numbered words in the response."""

    name = "world"
    heldout = [LikesLength()]

    def make_vec(self, num_envs, *, split="train", **options):
        return TextGenerationVectorEnv(num_envs, max_new_tokens=8, template="{prompt} w28", **options)

    def format_prompt(self, prompt):
        return f"{prompt} w28"

    def few_shot_prefix(self, demonstrations):
        return " ".join(f"{row['prompt']} {row['response']}" for row in demonstrations) + " "

    def demonstrations(self, split):
        return [{"prompt": f"w{i}", "response": f"w{i + 1}", "gold": ""} for i in range(5)]

    def prompts(self, split):
        assert split == "test"
        return ROWS

    def corpus(self, split):
        assert split == "test"
        return iter(DOCUMENTS)

    def labelers(self, group):
        assert group == "heldout"
        return self.heldout

    def metrics(self, episode):
        words = [int(word[1:]) for word in episode.response.split() if word.startswith("w")]
        even = sum(n % 2 == 0 for n in words) / max(len(words), 1)
        return {"utility": even, "mentions_gold": float(episode.columns["gold"] in episode.response.split())}


class Untrue(World):
    """The same world without a truth, labelers or a corpus, as a user's files have it."""

    metrics = Environment.metrics
    labelers = Environment.labelers
    corpus = Environment.corpus


class Reward:
    """Pays a tenth a token, nothing for one-token responses; remembers what it was shown."""

    def __init__(self):
        self.seen = []

    def score(self, episodes):
        self.seen += episodes
        return [len(e.response_tokens) / 10 if len(e.response_tokens) > 1 else None for e in episodes]


class Context:
    """As much of a StageContext as the stage touches."""

    name, seed, device = "evaluate", 11, torch.device("cpu")

    def __init__(self, directory, environment):
        self.run_directory, self.directory, self.environment = directory, directory, environment
        self.reward, self.steps = Reward(), []

    def create(self, kind, spec, **collaborators):
        if kind == "reward_model":
            return self.reward
        return CausalLMPolicy(CausalLMPolicy.Config(**spec.options), device=collaborators["device"])

    def log(self, step, total, metrics):
        self.steps.append((step, total))

    def checkpoint(self, step, state):
        pass

    def autocast(self):
        return contextlib.nullcontext()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of two policies, the second the first with disturbed weights."""
    root = tmp_path_factory.mktemp("policies")
    model, tokenizer = tiny_model(context=64), word_tokenizer()
    save_model(model, tokenizer, root / "sft")
    with seeded_initialisation("disturbed"), torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    save_model(model, tokenizer, root / "rl")
    return {name: str(root / name) for name in ("sft", "rl")}


def policy(path, **options):
    return {"policy": {"name": "causal_lm", "path": path}, **options}


def evaluate(tmp_path, policies, environment=World, **options):
    config = Evaluate.Config(policies=policies, **{"num_envs": 8, "greedy": False, **options})
    context = Context(tmp_path, environment(None, seed=0))
    results = Evaluate(config, context=context).run()
    samples = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    by_policy = {name: [row for row in samples if row["policy"] == name] for name in policies}
    return results, by_policy, context


def two(folders):
    return {"sft": policy(folders["sft"]), "rl": policy(folders["rl"])}


def test_utility_flags_and_wins_are_means_over_the_samples(tmp_path, folders):
    results, samples, context = evaluate(tmp_path, two(folders), baseline="sft")
    for name, rows in samples.items():
        measures = results["policies"][name]
        assert [row["prompt"] for row in rows] == [row["prompt"] for row in ROWS]
        assert measures["utility"] == pytest.approx(np.mean([row["utility"] for row in rows]))
        assert measures["mentions_gold"] == pytest.approx(np.mean([row["mentions_gold"] for row in rows]))
        assert measures["truncated"] == pytest.approx(np.mean([not row["terminated"] for row in rows]))
        low, high = measures["utility_ci"]
        assert low < measures["utility"] < high
    lengths = {name: [len(row["response"].split()) for row in rows] for name, rows in samples.items()}
    points = [0.5 if a == b else float(a > b) for a, b in zip(lengths["rl"], lengths["sft"], strict=True)]
    assert len(set(points)) == 3, "wins, losses and ties must all occur"
    assert results["policies"]["rl"]["win_rate"] == pytest.approx(np.mean(points))
    assert results["policies"]["sft"]["win_rate"] == 0.5
    assert results["policies"]["sft"]["win_rate_ci"] == [0.5, 0.5]
    assert results["evaluation"]["labelers"] == ["likes_length"]
    assert context.steps == [(1, 2), (2, 2)]


def test_win_rate_averages_labelers_and_the_order_shown_does_not_decide(tmp_path, folders, monkeypatch):
    monkeypatch.setattr(World, "heldout", [LikesTheFirst()])
    results, _, _ = evaluate(tmp_path, two(folders), baseline="sft")
    assert 0.2 < results["policies"]["rl"]["win_rate"] < 0.8
    monkeypatch.setattr(World, "heldout", [LikesTheFirst(), LikesLength()])
    both, _, _ = evaluate(tmp_path, two(folders), baseline="sft")
    monkeypatch.setattr(World, "heldout", [LikesLength()])
    length, _, _ = evaluate(tmp_path, two(folders), baseline="sft")
    rates = [r["policies"]["rl"]["win_rate"] for r in (results, length)]
    assert both["policies"]["rl"]["win_rate"] == pytest.approx(np.mean(rates))


def logprobs(path, tokens):
    model = CausalLMPolicy(CausalLMPolicy.Config(path=path)).model
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0].double().log_softmax(-1)


def test_kl_is_the_summed_log_ratio_of_the_sampled_tokens(tmp_path, folders):
    results, samples, context = evaluate(tmp_path, two(folders), reference="sft", reward={"name": "length"})
    assert results["policies"]["sft"]["kl"] == pytest.approx(0.0, abs=1e-4)
    episodes = context.reward.seen[len(ROWS) :]
    expected = []
    for episode in episodes:
        tokens, start = [*episode.prompt_tokens, *episode.response_tokens], len(episode.prompt_tokens)
        own, ref = (logprobs(folders[name], tokens) for name in ("rl", "sft"))
        expected.append(
            sum(float(own[p - 1, tokens[p]] - ref[p - 1, tokens[p]]) for p in range(start, len(tokens)))
        )
    assert [row["kl"] for row in samples["rl"]] == pytest.approx(expected, abs=1e-3)
    assert results["policies"]["rl"]["kl"] == pytest.approx(np.mean(expected), abs=1e-3)
    lengths = [len(episode.response_tokens) for episode in episodes]
    assert results["policies"]["rl"]["length"] == pytest.approx(np.mean(lengths))


def test_reward_is_the_mean_over_the_responses_that_can_be_scored(tmp_path, folders):
    results, samples, _ = evaluate(tmp_path, two(folders), reward={"name": "length"})
    scores = [row["reward"] for row in samples["rl"]]
    assert results["policies"]["rl"]["reward"] == pytest.approx(np.mean([s for s in scores if s is not None]))


def test_corpus_loss_is_the_mean_over_tokens_of_the_joined_documents(tmp_path, folders):
    results, _, _ = evaluate(tmp_path, {"sft": policy(folders["sft"])}, corpus_tokens=50)
    stream = [i for text in DOCUMENTS for i in [*map(WORDS.index, text.split()), WORDS.index("<eos>")]][:50]
    own = logprobs(folders["sft"], stream)
    expected = -np.mean([float(own[p - 1, stream[p]]) for p in range(1, 50)])
    assert results["policies"]["sft"]["corpus_loss"] == pytest.approx(expected, abs=1e-4)


def test_the_same_policy_twice_gives_the_same_samples_whatever_the_number_of_slots(tmp_path, folders):
    twice = {"a": policy(folders["rl"]), "b": policy(folders["rl"])}
    _, samples, _ = evaluate(tmp_path, twice, num_envs=3)
    _, others, _ = evaluate(tmp_path, twice, num_envs=20)
    responses = [[row["response"] for row in rows] for rows in (*samples.values(), *others.values())]
    assert all(row == responses[0] for row in responses)


def test_few_shot_policies_read_the_prefix_but_are_judged_on_the_plain_prompt(tmp_path, folders):
    policies = {
        "base": policy(folders["rl"]),
        "few_shot": policy(folders["rl"], shots=2, stop=["w3", "w4", "w5"]),
    }
    results, samples, context = evaluate(tmp_path, policies, reference="base", reward={"name": "length"})
    base, few_shot = context.reward.seen[: len(ROWS)], context.reward.seen[len(ROWS) :]
    assert [e.prompt_tokens for e in base] == [e.prompt_tokens for e in few_shot]
    assert [e.columns for e in few_shot] == [{k: v for k, v in row.items() if k != "prompt"} for row in ROWS]
    assert [e.response for e in base] != [e.response for e in few_shot]
    ended = [e for e in few_shot if e.terminated]
    assert ended and all(e.response_tokens[-1] == WORDS.index("<eos>") for e in ended)
    for episode in few_shot:
        words = [WORDS[i] for i in episode.response_tokens]
        special = ("<eos>", "<pad>", "<unk>")
        assert [w for w in words if w not in special] == episode.response.split()
    assert results["policies"]["few_shot"]["kl"] is None and samples["few_shot"][0]["kl"] is None


def test_few_shot_prompts_show_only_demonstrations_that_are_right(tmp_path, folders, monkeypatch):
    shown = []
    prefix = World.few_shot_prefix
    monkeypatch.setattr(World, "few_shot_prefix", lambda self, rows: shown.extend(rows) or prefix(self, rows))
    evaluate(tmp_path, {"base": policy(folders["rl"], shots=5)}, baseline=None, reference=None)
    assert {row["response"] for row in shown} == {"w2", "w4"}


def test_greedy_utility_does_not_depend_on_the_seed(tmp_path, folders, monkeypatch):
    first, _, _ = evaluate(tmp_path, two(folders), greedy=True)
    monkeypatch.setattr(Context, "seed", 12)
    second, _, _ = evaluate(tmp_path, two(folders), greedy=True)
    for name in folders:
        a, b = first["policies"][name], second["policies"][name]
        assert a["utility_greedy"] == b["utility_greedy"] and a["utility"] != b["utility"]


def test_without_a_truth_the_reward_decides_and_says_so(tmp_path, folders):
    options = {"baseline": "sft", "reward": {"name": "length"}, "greedy": True}
    results, samples, _ = evaluate(tmp_path, two(folders), Untrue, **options)
    measures = results["policies"]["rl"]
    assert not {"utility", "utility_greedy", "win_rate"} & set(measures) and measures["corpus_loss"] is None
    pairs = zip(*([row["reward"] for row in samples[name]] for name in ("rl", "sft")), strict=True)
    points = [0.5 if a == b else float(a > b) for a, b in pairs if a is not None and b is not None]
    assert measures["reward_win_rate"] == pytest.approx(np.mean(points))
    without, _, _ = evaluate(tmp_path, two(folders), Untrue, baseline="sft")
    assert "reward_win_rate" not in without["policies"]["rl"] and without["policies"]["rl"]["reward"] is None


def test_fewer_prompts_are_a_reproducible_choice(tmp_path, folders):
    chosen = []
    for _ in range(2):
        results, samples, _ = evaluate(tmp_path, {"sft": policy(folders["sft"])}, num_prompts=7)
        chosen.append([row["prompt"] for row in samples["sft"]])
    assert chosen[0] == chosen[1] and len(set(chosen[0])) == 7 and results["evaluation"]["num_prompts"] == 7


def test_results_are_plain_json(tmp_path, folders):
    results, _, _ = evaluate(tmp_path, two(folders), baseline="sft", reference="sft")
    assert json.loads(json.dumps(results, allow_nan=False)) == results


class ConstantPolicy(torch.nn.Module):
    """Pushes the cart to the right until it falls."""

    def session(self, num_envs):
        return self

    def act(self, observations, *, stream, active, deterministic=False):
        ones = torch.ones(len(active), dtype=torch.int64)
        return Action(ones, torch.zeros(len(active)), torch.zeros(len(active)))

    def value(self, batch):
        return torch.zeros(batch.mask.shape)

    def actor_parameters(self):
        return [torch.nn.Parameter(torch.zeros(1))]


class CartPole(Environment):
    name = "cartpole"

    def spaces(self):
        envs = gym.make("CartPole-v1")
        return envs.observation_space, envs.action_space

    def make_vec(self, num_envs, *, split="train", **options):
        kwargs = {"autoreset_mode": AutoresetMode.SAME_STEP}
        return gym.make_vec("CartPole-v1", num_envs, vectorization_mode="sync", vector_kwargs=kwargs)


def test_control_policies_are_measured_by_their_return(tmp_path, monkeypatch):
    monkeypatch.setattr(Context, "create", lambda self, kind, spec, **_: ConstantPolicy())
    config = Evaluate.Config(policies={"rl": {"policy": {"name": "causal_lm"}}}, num_prompts=10, num_envs=4)
    results = Evaluate(config, context=Context(tmp_path, CartPole(None, seed=0))).run()
    measures = results["policies"]["rl"]
    assert 8 <= measures["return"] <= 11 and measures["length"] == measures["return"]
    low, high = measures["return_ci"]
    assert low <= measures["return"] <= high and not math.isnan(low)
    assert set(measures) == {"return", "return_ci", "greedy_return", "greedy_return_ci", "length"}


def test_a_baseline_that_is_no_policy_is_an_error():
    with pytest.raises((ValidationError, UserError), match=r"baseline must be one of the policies \(rl\)"):
        Evaluate.Config(policies={"rl": policy("x")}, baseline="sft")


def test_no_prompts_is_the_users_mistake(tmp_path, folders, monkeypatch):
    monkeypatch.setattr(World, "prompts", lambda self, split: [])
    with pytest.raises(UserError, match="it has no prompts"):
        evaluate(tmp_path, two(folders))
