"""The recipe for people's own files, end to end on a few awkward rows with a tiny model."""

import json

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from rltk.config import load_recipe
from rltk.errors import UserError
from rltk.runs import create_environment, train

MODEL = {"model_type": "llama", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
MODEL |= {"num_attention_heads": 2, "max_position_embeddings": 128, "tie_word_embeddings": True}
SMALL = [
    f"pretrain.model={json.dumps(MODEL)}",
    "pretrain.tokens=1024",
    "pretrain.sequence_length=64",
    "sft.epochs=1",
    "rl.iterations=2",
    "rl.episodes=8",
    "rl.pretraining_length=64",
    "evaluate.num_prompts=4",
    "evaluate.corpus_tokens=128",
    "environment.vocab_size=300",
    "environment.max_prompt_tokens=48",
    "environment.on_long_prompt=truncate_left",
    "environment.max_new_tokens=4",
    "device=cpu",
]


@pytest.fixture
def paths(tmp_path):
    """Write rows that are long, empty, repeated and in many scripts; return the overrides that name them."""
    prompts = [
        "name a colour",
        "name a colour",
        "",
        "напиши слово",
        "你好 🙂",
        "Human: a\n\nAssistant: b\n\nHuman: c",
    ]
    prompts += ["a very long prompt " * 100]
    responses = ["red", "red", "x", "да", "再见 <|endoftext|> 🙂", "", "a very long response " * 100]
    rows = [
        {"prompt": f"{prompt}{i if prompt else ''}", "response": response, "split": split}
        for split in ("train", "validation")
        for i in range(4)
        for prompt, response in zip(prompts, responses, strict=True)
    ]
    pairs = [
        {"prompt": row["prompt"], "chosen": row["response"], "rejected": "no", "split": row["split"]}
        for row in rows
    ]
    pairs.append({"prompt": "the same twice", "chosen": "same", "rejected": "same", "split": "train"})
    ranked = [
        {
            "prompt": row["prompt"],
            "responses": ["a", "b", "a", row["response"]],
            "ranks": [1, 2, 3, 3],
            **split,
        }
        for row, split in [(row, {"split": row["split"]}) for row in rows]
    ]
    contents = {"demonstrations": rows, "prompts": rows, "comparisons": pairs, "rankings": ranked}
    for name, content in contents.items():
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in content]
        (tmp_path / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    documents = [f"document {i} über нечто 很好 " * 5 for i in range(60)]
    (tmp_path / "corpus.txt").write_text("\n<|endoftext|>\n".join(documents), encoding="utf-8")
    return [
        f"environment.corpus={tmp_path / 'corpus.txt'}",
        f"environment.demonstrations={tmp_path / 'demonstrations.jsonl'}",
        f"environment.comparisons=[{tmp_path / 'comparisons.jsonl'}, {tmp_path / 'rankings.jsonl'}]",
        f"environment.prompts={tmp_path / 'prompts.jsonl'}",
    ]


def test_the_whole_road_carries_awkward_rows(tmp_path, paths):
    run = tmp_path / "run"
    summary = train(load_recipe("instructgpt-files", [*SMALL, *paths]), run)
    assert list(summary["policies"]) == ["base", "sft", "rl"]
    assert 0 <= summary["reward_model"]["accuracy"] <= 1
    model = AutoModelForCausalLM.from_pretrained(run / "stages/rl/policy")
    tokenizer = AutoTokenizer.from_pretrained(run / "stages/rl/policy")
    assert model.config.vocab_size == len(tokenizer) == 300
    assert model.config.eos_token_id == tokenizer.eos_token_id != tokenizer.pad_token_id


def test_a_model_and_tokenizer_of_ones_own(tmp_path, paths):
    first = tmp_path / "first"
    train(_only(load_recipe("instructgpt-files", [*SMALL, *paths]), "pretrain"), first)
    folder = first / "stages/pretrain/policy"
    own = [f"pretrain.path={folder}", "pretrain.tokens=0", f"environment.tokenizer={folder}"]
    second = tmp_path / "second"
    train(_only(load_recipe("instructgpt-files", [*SMALL, *paths, *own]), "pretrain"), second)
    weights = [
        AutoModelForCausalLM.from_pretrained(run / "stages/pretrain/policy").state_dict()
        for run in (first, second)
    ]
    assert all(tensor.equal(weights[1][name]) for name, tensor in weights[0].items())


def test_paths_have_to_be_given(tmp_path):
    with pytest.raises(UserError, match="no file is given for corpus, demonstrations, comparisons, prompts"):
        create_environment(load_recipe("instructgpt-files"), tmp_path)


def _only(recipe, *stages):
    return recipe.model_copy(update={"stages": {name: recipe.stages[name] for name in stages}})
