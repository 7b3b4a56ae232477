"""The preference_model reward against the saved model itself."""

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from rltk.episode import Episode
from rltk.errors import UserError
from rltk.models import reward_model_from_policy, save_model
from rltk_rewards.preference_model import PreferenceModel
from tests.text_world import WORDS, tiny_model, word_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rewards")
    save_model(tiny_model(), word_tokenizer(), folder / "policy")
    model = reward_model_from_policy(folder / "policy", "path", seed=0)
    model.config.reward_bias = 0.25
    save_model(model, word_tokenizer(), folder / "model")
    return folder / "model"


def reward_model(folder, **options):
    collaborators = {"tokenizer": options.pop("tokenizer")} if "tokenizer" in options else {}
    return PreferenceModel(PreferenceModel.Config(path=str(folder), **options), **collaborators)


def episode(prompt, response, terminated=True):
    ids = word_tokenizer().convert_tokens_to_ids
    ended = [1] if terminated else []
    return Episode(
        prompt,
        response,
        prompt_tokens=tuple(ids(prompt.split())),
        response_tokens=(*ids(response.split()), *ended),
        terminated=terminated,
        truncated=not terminated,
    )


EPISODES = [
    episode("w1 w2", "w3"),
    episode("w4", "w5 w6 w7 w8", terminated=False),
    episode("w1 w2 w9", ""),
    episode("w1 w2", "w3 w4 w5 w6"),
]


def test_the_score_is_the_saved_models_at_the_last_token_less_the_bias(folder):
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    rows = [torch.tensor([[*e.prompt_tokens, *e.response_tokens]]) for e in EPISODES]
    with torch.no_grad():
        expected = [model(row).logits.item() - 0.25 for row in rows]
    assert reward_model(folder).score(EPISODES) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("size", [1, 8, 1000])
def test_scores_do_not_depend_on_the_other_episodes(folder, size):
    together = reward_model(folder, micro_batch_tokens=size).score(EPISODES[::-1])[::-1]
    alone = [reward_model(folder).score([e])[0] for e in EPISODES]
    assert together == pytest.approx(alone, abs=1e-5)


def test_an_episode_without_any_token_is_unscorable_and_none_is_no_error(folder):
    scores = reward_model(folder).score([Episode("", ""), EPISODES[0]])
    assert scores[0] is None and isinstance(scores[1], float)
    assert reward_model(folder).score([]) == []


def test_a_policy_with_another_vocabulary_is_read_as_text(folder):
    other = word_tokenizer()
    other.add_tokens(["brand-new"], special_tokens=False)
    shifted = [Episode(e.prompt, e.response, e.prompt_tokens, (), terminated=e.terminated) for e in EPISODES]
    expected = reward_model(folder, tokenizer=word_tokenizer()).score(EPISODES)
    assert reward_model(folder, tokenizer=other).score(shifted) == pytest.approx(expected, abs=1e-5)


def test_an_episode_beyond_the_context_or_vocabulary_is_an_error(folder):
    with pytest.raises(UserError, match="reward preference_model: row 0 is too long, got '49 tokens'"):
        reward_model(folder).score([Episode("", "", (3,) * 49)])
    with pytest.raises(UserError, match=f"its vocabulary has {len(WORDS)} tokens, got 32"):
        reward_model(folder).score([Episode("", "", (3,), (32,))])
