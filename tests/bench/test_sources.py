import json
import shutil
from pathlib import Path

import pytest

from rltk.bench.config import validate_bench
from rltk.bench.forms import FewShotForm, PluginForm
from rltk.bench.plan import Plan, make_plan
from rltk.bench.sources import policy_of_run, resolve
from rltk.errors import UserError

RECIPE = """
environment: {name: echo}
stages:
  pretrain: {stage: pretrain}
  sft: {stage: sft}
  evaluate:
    stage: evaluate
    policies:
      few-shot: {policy: {name: causal_lm, path: $RUN/stages/pretrain/policy}, shots: 2, stop: [w1]}
      chance: {policy: {name: random}}
      cold: {policy: {name: causal_lm, path: $RUN/stages/sft/policy, temperature: 0.5}}
      gone: {policy: {name: causal_lm, path: $RUN/stages/none/policy}}
"""


def make_run(directory: Path, *stages: str, summary: list[str] | None = None) -> Path:
    """Write what a run leaves behind, with empty policies in some stages."""
    directory.mkdir(parents=True)
    (directory / "config.yaml").write_text(RECIPE)
    for stage in stages:
        folder = directory / "stages" / stage / "policy"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
    if summary is not None:
        policies = {name: {"path": f"stages/{name}/policy"} for name in summary}
        (directory / "summary.json").write_text(json.dumps({"policies": policies}))
    return directory


def path_of(form: object) -> str:
    assert isinstance(form, PluginForm)
    return str(form.policy.options["path"])


def test_the_final_policy_of_a_run_is_the_last_of_its_summary(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", "pretrain", "sft", summary=["sft", "pretrain"])
    assert path_of(policy_of_run(run, None, "a")) == f"{run}/stages/pretrain/policy"
    assert path_of(policy_of_run(run, "sft", "a")) == f"{run}/stages/sft/policy"
    interrupted = make_run(tmp_path / "b", "pretrain")
    assert path_of(policy_of_run(interrupted, "pretrain", "b")) == f"{interrupted}/stages/pretrain/policy"


def test_policies_are_prompted_as_the_run_evaluates_them(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", "pretrain", "sft")
    few = policy_of_run(run, "few-shot", "a")
    assert isinstance(few, FewShotForm)
    assert (few.shots, few.stop, path_of(few.of)) == (2, ("w1",), f"{run}/stages/pretrain/policy")
    cold = policy_of_run(run, "cold", "a")
    assert isinstance(cold, PluginForm)
    assert cold.policy.options["temperature"] == 0.5
    assert policy_of_run(run, "chance", "a") == PluginForm.model_validate({"policy": {"name": "random"}})


def test_a_run_of_arrays_has_a_policy_too(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    folder = run / "stages" / "sft" / "policy"
    folder.mkdir(parents=True)
    (folder / "policy.json").write_text('{"policy": "mlp"}')
    form = policy_of_run(run, None, "a")
    assert isinstance(form, PluginForm)
    assert form.policy.name == "mlp"


def test_runs_are_training_seeds_in_natural_order(tmp_path: Path) -> None:
    for seed in (10, 2, 1):
        make_run(tmp_path / f"ppo-{seed}", "sft")
    (tmp_path / "ppo-3").mkdir()  # no run
    tree = {"policies": [f"{tmp_path}/ppo-*"], "environments": ["echo"]}
    config = validate_bench(tree, "bench.yaml")
    found = resolve(next(iter(config.policies.values())), "echo", "p")
    assert [seed for seed, _ in found] == [0, 1, 2]
    assert [path_of(form).split("/stages")[0] for _, form in found] == [
        f"{tmp_path}/ppo-{seed}" for seed in (1, 2, 10)
    ]


def plan_of(policies: object, *environments: str) -> Plan:
    tree = {"policies": policies, "environments": list(environments), "seeds": 1, "episodes": 2}
    return make_plan(validate_bench(tree, "bench.yaml"))


def test_a_policy_may_be_another_one_in_each_environment(tmp_path: Path) -> None:
    make_run(tmp_path / "ppo-echo-0", "sft")
    make_run(tmp_path / "ppo-echo-1", "sft")
    plan = plan_of({"ppo": f"{tmp_path}/ppo-{{environment}}-*", "random": "random"}, "echo", "lock")
    assert {cell.path.parts[1] for cell in plan.cells if cell.policy == "ppo"} == {"ppo@0", "ppo@1"}
    assert list(plan.left_out) == [("ppo", "lock")]
    assert "there is no run" in plan.left_out["ppo", "lock"]


def test_wrappers_have_the_training_seeds_of_what_they_wrap(tmp_path: Path) -> None:
    make_run(tmp_path / "a", "sft")
    make_run(tmp_path / "b", "sft")
    plan = plan_of(
        {"best": {"best_of": 2, "of": {"runs": [f"{tmp_path}/b", f"{tmp_path}/a"]}}, "r": "random"}, "echo"
    )
    assert [cell.train_seed for cell in plan.cells] == [0, 1, None]
    dumped = json.dumps(plan.to_json())
    assert f"{tmp_path}/b/stages/sft/policy" in dumped


def test_what_cannot_play_is_left_out(tmp_path: Path) -> None:
    make_run(tmp_path / "text", "sft")
    policies = {"oracle": "oracle", "text": str(tmp_path / "text"), "best": {"best_of": 2, "of": "random"}}
    plan = plan_of({**policies, "random": "random"}, "CartPole-v1", "no_truth")
    assert {key: reason.partition(" ")[0] for key, reason in plan.left_out.items()} == {
        ("oracle", "CartPole-v1"): "the",
        ("text", "CartPole-v1"): "the",
        ("best", "CartPole-v1"): "the",
        ("oracle", "no_truth"): "the",
    }
    with pytest.raises(UserError, match=r"none can play .*no oracle"):
        plan_of(["oracle"], "CartPole-v1")


@pytest.mark.parametrize(
    ("policy", "line"),
    [
        ({"run": "{tmp}/none"}, r"policies\.p: no run is here"),
        ({"run": "{tmp}/empty"}, r"policies\.p: the run holds no policy yet"),
        ({"run": "{tmp}/good", "policy": "sfd"}, r"has no such policy, got 'sfd'. Fix: did you mean 'sft'"),
        ({"runs": "{tmp}/x-*"}, r"policies\.p: no run matches"),
        ({"best_of": 2, "of": {"run": "{tmp}/none"}}, r"policies\.p\.of: no run is here"),
    ],
)
def test_a_run_without_a_policy_is_one_line(tmp_path: Path, policy: object, line: str) -> None:
    make_run(tmp_path / "good", "sft")
    make_run(tmp_path / "empty")
    given = json.loads(json.dumps(policy).replace("{tmp}", str(tmp_path)))
    with pytest.raises(UserError, match=line) as error:
        plan_of({"p": given}, "echo")
    assert "\n" not in str(error.value)
    shutil.rmtree(tmp_path)


def test_kl_needs_a_policy_with_probabilities() -> None:
    tree = {"policies": ["oracle"], "environments": ["echo"], "reference": "oracle"}
    with pytest.raises(UserError, match="reference: it gives no log-probabilities"):
        make_plan(validate_bench(tree, "bench.yaml"))
