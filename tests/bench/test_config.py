import re
from pathlib import Path
from typing import Any

import pytest

from rltk.bench.config import read_bench, validate_bench
from rltk.cli_bench import repeated
from rltk.errors import UserError


def resolved(policies: Any, environments: Any, **keys: Any) -> dict[str, Any]:
    tree = {"policies": policies, "environments": environments, **keys}
    return validate_bench(tree, "bench.yaml").resolved()


def test_short_forms_are_spelt_out(model: str) -> None:
    tree = resolved(["random", "oracle", model, "hf:gpt2"], ["echo", "rltk/Instruct-v0", "CartPole-v1"])
    assert list(tree["policies"]) == ["random", "oracle", Path(model).name, "gpt2"]
    assert tree["policies"]["oracle"] == {"oracle": True}
    assert tree["policies"][Path(model).name]["policy"]["path"] == model
    assert tree["policies"]["gpt2"]["policy"]["path"] == "gpt2"
    environments = {name: entry["environment"]["name"] for name, entry in tree["environments"].items()}
    assert environments == {"echo": "echo", "instruct": "instruct", "CartPole-v1": "gymnasium"}


def test_the_resolved_config_is_a_valid_config(model: str) -> None:
    wrapped = {"best_of": 2, "of": {"shots": 1, "of": "base"}, "reward": {"name": "length"}}
    endpoint = {"endpoint": "http://localhost/v1", "model": "m"}
    policies = {"base": model, "best": wrapped, "far": endpoint, "ppo": "runs/ppo-{environment}"}
    tree = resolved(policies, [{"name": "echo", "level": 3}], reference="base", episodes=6, samples=3)
    assert tree["policies"]["best"]["of"]["of"] == tree["policies"]["base"]
    assert tree["environments"]["echo"]["environment"]["level"] == 3
    assert validate_bench(tree, "again").resolved() == tree


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (
            {"policies": ["rndom"]},
            r"policies\.rndom: unknown policy, got 'rndom'. Fix: did you mean 'random'",
        ),
        ({"policies": ["runs/none"]}, r"policies\.none: unknown policy, got 'runs/none'"),
        ({"policies": ["random", "random"]}, "policies: two of them would have one name, got 'random'"),
        ({"policies": {"a/b": "random"}}, r"policies\.a/b"),
        ({"policies": {"a": {"nope": 1}}}, r"policies\.a: no policy, got .* best_of, shots, endpoint"),
        ({"policies": {"a": {"best_of": 0, "of": "random"}}}, r"policies\.a\.best_of: should be greater"),
        ({"policies": {"a": {"best_of": 2, "of": "a"}}}, r"policies\.a\.of: a policy cannot wrap itself"),
        (
            {"policies": {"a": {"shots": 2, "off": 1, "of": "oracle"}}},
            r"policies\.a\.off: unknown key",
        ),
        ({"policies": {"a": {"endpoint": "localhost", "model": "m"}}}, r"policies\.a\.endpoint: .*match"),
        ({"policies": {"a": {"policy": {"name": "causal_ml"}}}}, r"policies\.a\.policy\.name: .*causal_lm"),
        (
            {"environments": ["ecoh"]},
            "environments: unknown environment, got 'ecoh'. Fix: did you mean 'echo'",
        ),
        ({"environments": ["rltk/Instrct-v0"]}, "did you mean 'rltk/Instruct-v0'"),
        (
            {"environments": [{"name": "echo", "lvl": 1}]},
            r"echo\.environment\.lvl: unknown key",
        ),
        ({"environments": {"e": {"environment": "echo", "splt": "test"}}}, "splt: unknown key.*'split'"),
        ({"environments": []}, "environments: .*at least 1"),
        ({"seds": 3}, "seds: unknown key. Fix: did you mean 'seeds'"),
        ({"reference": "rndom"}, "reference: it names none of the policies, got 'rndom'. Fix: did you mean"),
        ({"episodes": 5, "samples": 2}, "episodes: no multiple of samples, got 5"),
    ],
)
def test_a_mistake_is_one_line(keys: dict[str, Any], line: str) -> None:
    tree = {"policies": ["random"], "environments": ["echo"], **keys}
    with pytest.raises(UserError) as error:
        validate_bench(tree, "bench.yaml")
    assert re.search(line, str(error.value))
    assert "\n" not in str(error.value)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(UserError) as error:
        validate_bench({"policies": ["rndom"], "environments": ["ecoh"], "seds": 1}, "bench.yaml")
    assert len(str(error.value).splitlines()) == 3


def test_a_file_given_keys_and_overrides_go_together(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("policies: [random]\nenvironments: {e: {name: echo}}\nseeds: 3\nepisodes: 7\n")
    config = read_bench(path, {"seeds": 4}, ["environments.e.level=2", "samples=7"])
    assert (config.name, config.seeds, config.episodes, config.samples) == ("mine", 4, 7, 7)
    assert config.environments["e"].environment.options == {"level": 2}
    for override, line in [
        ("seds=3", "did you mean 'seeds'"),
        ("policies.a=1", "as a mapping"),
        ("seeds", "override"),
    ]:
        with pytest.raises(UserError, match=line):
            read_bench(path, {}, [override])


def test_a_broken_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    for text, line in [("", "the file is empty"), ("- a", "holds no mapping"), ("a: [", "no valid YAML")]:
        path.write_text(text)
        with pytest.raises(UserError, match=line):
            read_bench(path, {}, [])
    with pytest.raises(UserError, match="no such file"):
        read_bench(tmp_path / "none.yaml", {}, [])


def test_options_take_several_values_up_to_the_next() -> None:
    given = ["b.yaml", "--policies", "a", "b:c", "seeds=3", "--envs", "x", "--run", "d", "tail"]
    assert repeated(given) == [
        "b.yaml",
        *("--policies", "a", "--policies", "b:c", "seeds=3"),
        *("--envs", "x", "--run", "d", "tail"),
    ]
