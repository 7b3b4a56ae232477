"""The road from nothing to a reward model, in a world of 29 words."""

import json
import math

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from rltk.config import ComponentSpec
from rltk.data import read_rankings
from rltk.episode import Episode
from rltk.errors import Interrupted, UserError
from rltk.language_modeling import encode_demonstrations
from rltk.models import load_tokenizer, save_model
from rltk.ranking import agreement, preference_pairs
from rltk_rewards.preference_model import PreferenceModel
from rltk_stages.comparisons import Comparisons, ranks_by
from rltk_stages.pretrain import Pretrain
from rltk_stages.reward_model import RewardModelTraining
from rltk_stages.sft import SupervisedFineTuning
from tests.stage_world import TINY_LLAMA, FakeContext, WordWorld
from tests.text_world import tiny_model, word_tokenizer


def run(stage, directory, *, stop_after=None, environment=None, **options):
    context = FakeContext(directory, stage.name, stop_after=stop_after, environment=environment)
    return stage(stage.Config.model_validate(options), context=context).run()[stage.name], context


PRETRAIN = {"model": TINY_LLAMA, "sequence_length": 16, "batch_size": 8, "epochs": 6, "learning_rate": 0.01}
SFT = {"epochs": 4, "learning_rate": 0.01, "batch_size": 16}
COMPARISONS = {"prompts": 60, "validation_prompts": 20, "num_envs": 16}
REWARD = {"epochs": 6, "learning_rate": 0.01, "batch_size": 8}


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    """Run all four stages once: the run directory, their results and what they logged."""
    directory = tmp_path_factory.mktemp("run")
    stages = [
        (Pretrain, PRETRAIN),
        (SupervisedFineTuning, SFT),
        (Comparisons, COMPARISONS),
        (RewardModelTraining, REWARD),
    ]
    done = {stage.name: run(stage, directory, **options) for stage, options in stages}
    results = {name: result for name, (result, _) in done.items()}
    return directory, results, {name: context.metrics for name, (_, context) in done.items()}


def test_results_are_json_and_losses_fall(road):
    _, results, metrics = road
    json.dumps(results, allow_nan=False)
    assert results["pretrain"]["validation_loss"] < math.log(32) - 0.2
    assert results["pretrain"]["validation_perplexity"] == pytest.approx(
        math.exp(results["pretrain"]["validation_loss"])
    )
    validation = [row["sft/validation_loss"] for row in metrics["sft"] if "sft/validation_loss" in row]
    assert len(validation) == SFT["epochs"]
    assert results["sft"]["validation_loss"] == min(validation)
    assert results["sft"]["best_epoch"] == 1 + int(np.argmin(validation))
    assert results["sft"]["validation_loss"] < validation[0]


@pytest.mark.parametrize("stage", ["pretrain", "sft"])
def test_policies_open_with_transformers(road, stage):
    folder = road[0] / "stages" / stage / "policy"
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = load_tokenizer(folder, "path")
    assert (
        (model.config.pad_token_id, model.config.eos_token_id)
        == (0, 1)
        == (
            tokenizer.pad_token_id,
            tokenizer.eos_token_id,
        )
    )


def rankings(road):
    path = road[0] / "stages" / "comparisons" / "rankings.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_prompt_has_four_to_nine_ranked_responses(road):
    rows = rankings(road)
    assert [row["split"] for row in rows] == ["train"] * 60 + ["validation"] * 20
    assert {len(row["responses"]) for row in rows} == set(range(4, 10))
    prompts = {
        split: [row["prompt"] for row in WordWorld(None, seed=0).prompts(split)]
        for split in ("train", "validation")
    }
    for row in rows:
        K = len(row["responses"])
        assert len(row["ranks"]) == len(row["response_tokens"]) == len(row["terminated"]) == K
        assert row["prompt"] in prompts[row["split"]]
        assert row["columns"] == {"number": int(row["prompt"].split()[0][1:])}
        assert {row["labeler"], row.get("second_labeler", row["labeler"])} <= {"ann", "bob"}
        assert ("second_ranks" in row) == (row["split"] == "validation")


def test_samples_are_the_policys_own_and_ranks_are_the_labelers(road):
    tokenizer = word_tokenizer()
    labeler = WordWorld(None, seed=0).labelers("train")[0]
    for row in rankings(road):
        assert tokenizer.decode(row["prompt_tokens"]) == f"{row['prompt']} w28"
        for text, ids, ended in zip(row["responses"], row["response_tokens"], row["terminated"], strict=True):
            assert tokenizer.decode(ids, skip_special_tokens=True) == text
            assert (ids[-1] == 1) == ended and 1 <= len(ids) <= 4
        assert row["ranks"] == labeler.rank([Episode("", text) for text in row["responses"]], None)
        for one, other in zip(*preference_pairs(row["ranks"]), strict=True):
            assert row["responses"][one] != row["responses"][other]


def test_counts_and_agreement_are_those_of_the_file(road):
    rows, result = rankings(road), road[1]["comparisons"]
    assert result["prompts"] == 80 and result["responses"] == sum(len(row["responses"]) for row in rows)
    twice = [agreement(row["ranks"], row["second_ranks"]) for row in rows if "second_ranks" in row]
    assert result["agreement"] == 1.0  # the two labelers think alike
    assert result["agreement_pairs"] == sum(pairs for _, pairs in twice) > 0


def test_sampling_does_not_depend_on_the_slots(road, tmp_path):
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "sft").symlink_to(road[0] / "stages" / "sft")
    run(Comparisons, tmp_path, **{**COMPARISONS, "num_envs": 5})
    path = tmp_path / "stages" / "comparisons" / "rankings.jsonl"
    assert [json.loads(line) for line in path.read_text().splitlines()] == rankings(road)


def test_the_reward_model_learns_the_labelers_taste(road):
    result = road[1]["reward_model"]
    assert result["accuracy"] > 0.75 > 0.6 > result["length_baseline"]
    low, high = result["accuracy_ci"]
    assert low < result["accuracy"] < high
    assert result["agreement"] == 1.0
    validation = [row for row in rankings(road) if row["split"] == "validation"]
    assert result["pairs"] == sum(len(preference_pairs(row["ranks"])[0]) for row in validation)


def scores_of(folder, rows):
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    with torch.no_grad():
        return [model(torch.tensor([row])).logits.item() - model.config.reward_bias for row in rows]


def test_demonstrations_score_0_on_average(road):
    environment, folder = WordWorld(None, seed=0), road[0] / "stages" / "reward_model" / "model"
    examples, _ = encode_demonstrations(
        environment.demonstrations("validation"), word_tokenizer(), environment.format_prompt, max_length=None
    )
    scores = scores_of(folder, [example.tokens for example in examples])
    assert np.mean(scores) == pytest.approx(0.0, abs=1e-5)
    assert road[1]["reward_model"]["bias"] != 0.0


def test_reported_accuracy_is_that_of_the_saved_model(road):
    folder = road[0] / "stages" / "reward_model" / "model"
    correct, total = 0.0, 0
    for row in rankings(road):
        if row["split"] == "validation":
            scores = scores_of(folder, [row["prompt_tokens"] + ids for ids in row["response_tokens"]])
            for winner, loser in zip(*preference_pairs(row["ranks"]), strict=True):
                correct += (np.sign(scores[winner] - scores[loser]) + 1) / 2
                total += 1
    assert road[1]["reward_model"]["accuracy"] == pytest.approx(correct / total)
    reward = PreferenceModel(PreferenceModel.Config(path=str(folder)))
    episode = Episode("", "", tuple(row["prompt_tokens"]), tuple(row["response_tokens"][0]))
    assert reward.score([episode]) == pytest.approx(
        scores_of(folder, [row["prompt_tokens"] + row["response_tokens"][0]]), abs=1e-5
    )


def test_text_rankings_are_learnt_from_the_environment_too(road):
    class Stored(WordWorld):
        def comparisons(self, split):
            return [
                {"prompt": row["prompt"], "responses": row["responses"], "ranks": row["ranks"]}
                for row in rankings(road)
                if row["split"] == split and all(row["terminated"])
            ]

    result, _ = run(
        RewardModelTraining,
        road[0] / "text",
        environment=Stored(None, seed=0),
        path=str(road[0] / "stages/sft/policy"),
        rankings=None,
        demonstrations=0,
        **REWARD,
    )
    assert result["accuracy"] > 0.7
    assert (result["agreement"], result["agreement_pairs"], result["bias"]) == (None, 0, 0.0)


@pytest.mark.parametrize(
    ("stage", "options", "stop_after", "artifact"),
    [
        (Pretrain, PRETRAIN, 5, "policy/model.safetensors"),
        (SupervisedFineTuning, SFT, 11, "policy/model.safetensors"),
        (RewardModelTraining, REWARD, 7, "model/model.safetensors"),
    ],
)
def test_an_interrupted_stage_leaves_the_very_same_model(
    road, tmp_path, stage, options, stop_after, artifact
):
    (tmp_path / "stages").mkdir()
    for name in {"pretrain", "sft", "comparisons"} - {stage.name}:
        (tmp_path / "stages" / name).symlink_to(road[0] / "stages" / name)
    with pytest.raises(Interrupted):
        run(stage, tmp_path, stop_after=stop_after, **options)
    run(stage, tmp_path, **options)
    path = f"stages/{stage.name}/{artifact}"
    assert (tmp_path / path).read_bytes() == (road[0] / path).read_bytes()


def test_a_budget_of_nothing_hands_a_model_on(road, tmp_path):
    folder = road[0] / "stages" / "sft" / "policy"
    result, _ = run(Pretrain, tmp_path, path=str(folder), tokens=0)
    assert result["tokens"] == 0 and "validation_loss" not in result
    one, other = (
        AutoModelForCausalLM.from_pretrained(f) for f in (folder, tmp_path / "stages/pretrain/policy")
    )
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_a_token_budget_is_spent_over_several_passes(tmp_path):
    """The corpus is 600 tokens in 5 batches, the last one smaller: 2000 tokens take 16.7 steps of 120."""
    result, context = run(Pretrain, tmp_path, **{**PRETRAIN, "tokens": 2000})
    assert (result["steps"], result["tokens"]) == (17, 2040)
    assert len(context.metrics) == 17


def test_a_pad_token_can_be_added_to_a_loaded_model(tmp_path):
    tokenizer = word_tokenizer()
    model = tiny_model()
    save_model(model, tokenizer, tmp_path / "start")
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path / "start")
    with pytest.raises(UserError, match=r"^stages\.pretrain\.tokenizer: the tokenizer has no pad token"):
        run(Pretrain, tmp_path, path=str(tmp_path / "start"), tokens=0)
    run(Pretrain, tmp_path, path=str(tmp_path / "start"), tokens=0, pad_token="<|pad|>")
    grown = AutoModelForCausalLM.from_pretrained(tmp_path / "stages" / "pretrain" / "policy")
    assert (grown.config.vocab_size, grown.config.pad_token_id) == (33, 32)
    assert torch.equal(grown.get_input_embeddings().weight[:32], model.get_input_embeddings().weight)


def world(**materials):
    """Return the environment with some of its methods answering with given material."""
    environment = WordWorld(None, seed=0)
    for name, material in materials.items():
        setattr(environment, name, lambda *_, material=material: material)
    return environment


def test_bad_input_is_one_line_each(road, tmp_path):
    sft = str(road[0] / "stages/sft/policy")
    cases = [
        (
            Pretrain,
            {**PRETRAIN, "sequence_length": 33},
            world(),
            "stages.pretrain.sequence_length: rows are longer",
        ),
        (Pretrain, PRETRAIN, world(corpus=iter(())), "environment: the corpus is empty"),
        (
            SupervisedFineTuning,
            {"path": sft},
            world(demonstrations=[]),
            "environment: there are no demonstrations",
        ),
        (
            SupervisedFineTuning,
            {"path": sft},
            world(demonstrations=[{"prompt": "w1", "response": "w2 " * 40}]),
            "train demonstrations: row 0 is too long, got '43 tokens'",
        ),
        (
            Comparisons,
            {"policy": {"name": "causal_lm", "path": sft}},
            world(labelers=[]),
            "environment: there are no labelers",
        ),
        (
            RewardModelTraining,
            {"path": sft, "rankings": None},
            world(comparisons=[{"prompt": "w1", "responses": ["w2", "w3"], "ranks": [1, 1]}]),
            "environment: no train ranking states a preference",
        ),
        (
            RewardModelTraining,
            {"path": sft, "rankings": None},
            world(comparisons=[{"prompt": "w1 " * 40, "responses": ["w2", "w3"], "ranks": [1, 2]}]),
            "train rankings: row 0 is too long, got '43 tokens'",
        ),
        (
            RewardModelTraining,
            {"path": str(tmp_path / "nothing")},
            world(),
            "stages.reward_model.path: no tokenizer",
        ),
    ]
    for stage, options, environment, message in cases:
        with pytest.raises(UserError) as error:
            run(stage, tmp_path, environment=environment, **options)
        assert str(error.value).startswith(message)


def test_a_labeler_that_ranks_too_few_is_named():
    class Lazy:
        name = "lou"

        def rank(self, episodes, generator):
            return [1]

    with pytest.raises(UserError, match="labeler 'lou': ranked 2 responses, got"):
        ranks_by(Lazy(), [Episode("p", "a"), Episode("p", "b"), Episode("p", "a")], None)


def test_k_max_below_k_min_is_refused():
    with pytest.raises(ValueError, match="k_max must be at least k_min"):
        Comparisons.Config(k_min=5, k_max=4, policy=ComponentSpec(name="causal_lm"))


def test_rankings_of_the_stage_are_rankings_for_everybody(road):
    rows = read_rankings(road[0] / "stages" / "comparisons" / "rankings.jsonl")
    assert [row["ranks"] for row in rows] == [row["ranks"] for row in rankings(road)]
