"""The page of every algorithm names exactly the metrics that its updates return, the rl stage's the rest."""

import json
import re
from pathlib import Path

import pytest
import torch

from rltk.config import load_recipe
from rltk.models import save_model
from rltk.registry import get_registry
from rltk.runs import train
from tests.algorithms.linear_world import make_policy, make_rollout
from tests.algorithms.test_invariances import make_algorithm, make_language_model, text_rollout
from tests.text_world import tiny_model, word_tokenizer

DOCS = Path(__file__).parents[2] / "docs"
PAGES = DOCS / "algorithms"
#: With everything that reports something switched on.
OPTIONS = {
    "a2c": {},
    "grpo": {"kl_loss_coef": 0.1},
    "ppo": {"ptx_coef": 0.1},
    "reinforce": {},
    "rloo": {},
    "trpo": {},
}
NAMES = sorted(OPTIONS)


def section(page, title):
    return re.split(r"^## ", page.read_text().split(f"\n## {title}\n")[1], flags=re.MULTILINE)[0]


def first_column(text):
    """The names in code in the first cell of each row of the tables in a text."""
    cells = re.findall(r"^\| (`[^|]*?) \|", text, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def shared(name):
    """What the page says its algorithm reports of what all of them may."""
    [sentence] = re.findall(r"^Of \[those of all algorithms\].*?[.:]$", section_of(name), re.M | re.S)
    listed = re.split(r", where |, and:", sentence)[0]
    return set(re.findall(r"`(\w+)`", listed)) - {"baseline"}


def section_of(name):
    return section(PAGES / f"{name}.md", "Metrics")


def documented(name):
    return shared(name) | first_column(section_of(name))


def logged(metrics):
    """The names under which the rl stage logs an update's metrics."""
    return {"step_kl" if name == "kl" else name for name in metrics}


def updated(name, policy, rollout):
    algorithm = make_algorithm(name, policy, **OPTIONS[name])
    algorithm.auxiliary_loss = lambda: torch.zeros((), requires_grad=True)
    return logged(algorithm.update(rollout))


def test_every_algorithm_has_a_page():
    modules = (DOCS.parent / "plugins" / "rltk_algorithms").glob("[!_]*.py")
    assert sorted(module.stem for module in modules) == NAMES
    assert sorted(page.stem for page in PAGES.glob("*.md") if page.stem != "README") == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_page_has_the_paper_its_equations_and_what_computes_them(name):
    text = (PAGES / f"{name}.md").read_text()
    paper = get_registry().get("algorithm", name).paper
    assert re.search(r"(arXiv|doi):(\S+)$", paper)[2] in text
    assert re.search(r"^```\n.*^loss .*^```\n|^```\n.*^theta = .*^```\n", text, re.MULTILINE | re.DOTALL)
    computed = re.search(r"^\| \| computed by \|\n\|---\|---\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    rows = computed[1].splitlines()
    assert len(rows) >= 3 and all("](../../" in row for row in rows)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_names_the_metrics_of_an_update(name):
    policy = make_policy()
    on_arrays = updated(name, policy, make_rollout(policy))
    policy = make_language_model()
    on_text = updated(name, policy, text_rollout(policy))
    assert on_arrays == on_text == documented(name)


def test_what_several_algorithms_report_is_explained_for_all():
    everywhere = first_column(section(PAGES / "README.md", "Metrics"))
    assert everywhere == set().union(*(shared(name) for name in NAMES))


def test_what_the_stage_logs_is_explained_too(tmp_path):
    save_model(tiny_model(), word_tokenizer(), tmp_path / "policy")
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(f'{{"prompt": "w{n} w{n + 1}"}}\n' for n in range(6)))
    language_model = {"name": "causal_lm", "path": str(tmp_path / "policy")}
    stage = {
        "stage": "rl",
        "policy": language_model,
        "reference": language_model,
        "reward": {"name": "length"},
        "iterations": 1,
        "episodes": 12,
    }
    environment = {
        "name": "files",
        "prompts": str(prompts),
        "template": "{prompt} w28",
        "max_new_tokens": 4,
    }
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({"environment": environment, "stages": {"rl": stage}}))
    on_text = train(load_recipe(recipe), tmp_path / "text")["rl"]
    small = ["rl.iterations=1", "rl.steps=64", "evaluate.num_prompts=2"]
    on_arrays = train(load_recipe("cartpole", small), tmp_path / "arrays")["rl"]
    explained = documented("ppo") | {"iterations", "episodes", "steps", "return"}
    explained |= first_column(section(DOCS / "instructgpt-mini.md", "What the rl stage logs"))
    explained |= {"score_p50", "score_p90"}  # shortened there to _p50 and _p90
    assert set(on_text) | set(on_arrays) <= explained


def details():
    """Number, kind and words of each row of the table of PPO's details, ranges taken apart."""
    table = section(PAGES / "ppo.md", "The 37 implementation details")
    for numbers, _, kind, here in re.findall(
        r"^\| (\d.*?) \| (.*?) \| (.*?) \| (.*) \|$", table, re.MULTILINE
    ):
        first, *rest = map(int, re.findall(r"\d+", numbers))
        for number in range(first, (rest or [first])[0] + 1):
            yield number, kind, here


def test_every_detail_of_ppo_is_an_option_a_decision_or_does_not_apply():
    assert [number for number, _, _ in details()] == list(range(1, 38))
    assert {kind for _, kind, _ in details()} == {"option", "decision", "does not apply"}


def test_the_options_of_the_details_are_options():
    known = {"ppo": "algorithm", "mlp": "policy", "causal_lm": "policy", "rl": "stage"}
    fields = {name: set(get_registry().get(kind, name).Config.model_fields) for name, kind in known.items()}
    for number, kind, here in details():
        if kind != "option":
            continue
        words = re.findall(r"`(?:rl\.)?(\w+)`", here)
        owner = next((word for word in words if word in known), "rl" if "`rl." in here else "ppo")
        option = next(word for word in words if word not in known)
        assert option in fields[owner], (number, option)
