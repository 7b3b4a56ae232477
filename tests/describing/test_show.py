"""`rltk plugins show`: what a component is, to read and as data."""

import io
import json
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from annotated_types import Gt
from pydantic import BaseModel, Field, PositiveInt
from rich.console import Console

import rltk
from rltk import yaml_io
from rltk.config import AlgorithmSpec, RewardSpec, build_config
from rltk.describing.component import Description, describe
from rltk.describing.rendering import render
from rltk.describing.show import find, show_plugin
from rltk.describing.type_names import component_kind, type_name
from rltk.errors import UserError
from rltk.plugin_sources import Source
from rltk.registry import Provided, Registry, get_registry

TOY_PLUGIN = Path(__file__).parent.parent / "toy_plugin.py"
PROVIDED = [pytest.param(item, id=f"{item.kind}.{item.component.name}") for item in get_registry().provided]


class _Colour(Enum):
    RED = "red"
    BLUE = "blue"


class _Model(BaseModel):
    size: int = Field(description="Size.")


@pytest.mark.parametrize(
    ("annotation", "name"),
    [
        (int, "int"),
        (bool, "bool"),
        (Path, "path"),
        (Any, "any"),
        (float | None, "float or null"),
        (Annotated[float, Field(gt=0)], "float > 0"),
        (Annotated[int, Field(ge=1)] | None, "int >= 1 or null"),
        (Annotated[float | None, Field(gt=0, lt=1)], "float in (0, 1) or null"),
        (Annotated[float, Field(ge=0, le=1)], "float in [0, 1]"),
        (Annotated[float, Field(le=1)], "float <= 1"),
        (Annotated[int, Field(multiple_of=8)], "int, multiple of 8"),
        (Annotated[str, Field(pattern="^a+$")], "str, matching ^a+$"),
        (Annotated[str, Field(min_length=1)], "str, length >= 1"),
        (Literal["constant", "linear"], '"constant" | "linear"'),
        (_Colour, '"red" | "blue"'),
        (str | list[str] | None, "str or list of str or null"),
        (list[int | None], "list of (int or null)"),
        (tuple[int, ...], "list of int"),
        (tuple[int, str], "[int, str]"),
        (dict[str, Annotated[int, Gt(0)]], "mapping of str to int > 0"),
        (dict[str, Any], "mapping of str to any"),
        (set[PositiveInt], "list of int > 0"),
        (_Model, "mapping"),
        (AlgorithmSpec | None, "algorithm or null"),
        (list[RewardSpec], "list of reward_model"),
    ],
)
def test_types_are_readable(annotation: Any, name: str) -> None:
    class Config(rltk.ComponentConfig):
        field: annotation

    field = Config.model_fields["field"]
    assert type_name(field.annotation, field.metadata) == name


def test_the_kind_of_component_is_found_at_any_depth() -> None:
    assert component_kind(dict[str, RewardSpec] | None) == "reward_model"
    assert component_kind(dict[str, int]) is None


def test_a_description_holds_everything_about_a_component(toys: Registry) -> None:
    (item,), _ = find("count", toys)
    found = describe(item, toys)
    assert (found.kind, found.name, found.plugin) == ("stage", "count", "toy_plugin")
    assert found.distribution == str(TOY_PLUGIN) and found.version is None
    assert found.summary.startswith("Adds noise to a weight; TOY_KILL=")
    assert [option.name for option in found.options] == ["steps", "fail", "path", "algorithm"]
    steps, algorithm = found.options[0], found.options[3]
    assert (steps.type, steps.default, steps.required) == ("int > 0", 4, False)
    assert (steps.constraints, steps.description) == ({"gt": 0}, "How many.")
    assert (algorithm.kind, algorithm.default) == ("algorithm", {"name": "toy_first"})
    assert [(taken.name, taken.required) for taken in found.collaborators] == [("context", True)]


def _named(reference: str) -> Description:
    (item,), _ = find(reference, get_registry())
    return describe(item, get_registry())


def test_options_of_mappings_inside_are_listed_by_their_path() -> None:
    names = [option.name for option in _named("stage.evaluate").options]
    assert names[:4] == ["policies", "policies.NAME.policy", "policies.NAME.shots", "policies.NAME.stop"]
    parts = {option.name: option for option in _named("weighted_sum").options}
    assert parts["rewards.NAME.weight"].default == 1.0 and parts["rewards"].kind == "reward_model"


def test_a_model_inside_itself_is_listed_once(toys: Registry) -> None:
    class Tree(BaseModel):
        leaf: int = Field(1, description="Leaf.")
        branches: "list[Tree]" = Field([], description="Branches.")

    Tree.model_rebuild(_types_namespace={"Tree": Tree})

    class Recursive(toys.get("stage", "count")):  # type: ignore[misc]
        name = "recursive"

        class Config(rltk.ComponentConfig):
            tree: Tree = Field(Tree(), description="A tree.")

    source = Source("here", "this program", load=lambda: None)
    options = describe(Provided("stage", Recursive, source), toys).options
    assert [option.name for option in options] == ["tree", "tree.leaf", "tree.branches"]


@pytest.mark.parametrize("item", PROVIDED)
def test_every_example_is_a_valid_fragment_of_a_recipe(
    item: Provided, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # what examples of built-in components name
    (tmp_path / "rewards.py").write_text("def accuracy(completions, **columns):\n    return [0.0]\n")
    (tmp_path / "baselines.py").write_text("def act(observation):\n    return 0\n")
    monkeypatch.chdir(tmp_path)
    found = describe(item, get_registry())
    tree = yaml_io.parse(found.example, "example")
    selector = "name"
    if item.kind == "environment" or not getattr(item.component, "trainable", True):
        spec = tree[item.kind]
    else:
        ((_, spec),) = tree["stages"].items()
        if item.kind == "stage":
            selector = "stage"
        else:
            get_registry().get("stage", spec.pop("stage"))
            ((_, spec),) = spec.items()
    assert spec.pop(selector) == item.component.name
    assert spec or not item.component.Config.model_fields
    build_config(item.kind, item.component.name, spec, where="example")


def test_an_example_shows_what_is_required_and_what_its_author_wants_shown(toys: Registry) -> None:
    class Picky(toys.get("algorithm", "toy_first")):  # type: ignore[misc]
        name = "picky"

        class Config(rltk.ComponentConfig):
            a: int = Field(1, description="Said by default.")
            b: str | None = Field(None, description="Unsaid.")
            c: str | None = Field(None, examples=["data.jsonl"], description="Shown.")
            d: Annotated[float, Field(gt=0, lt=1)] = Field(description="Needed.")
            e: Literal["x", "y"] = Field(description="Needed too.")
            f: list[_Model] = Field(description="Needed as well.")
            g: dict[str, bool] = Field(description="And this.")

    source = Source("here", "this program", load=lambda: None)
    found = describe(Provided("algorithm", Picky, source), toys)
    assert yaml_io.parse(found.example, "x") == {
        "stages": {
            "count": {
                "stage": "count",
                "algorithm": {
                    "name": "picky",
                    "c": "data.jsonl",
                    "d": 0.5,
                    "e": "x",
                    "f": [{"size": 1}],
                    "g": {"NAME": True},
                },
            }
        }
    }
    assert found.command == ""


def test_the_override_sets_what_is_required_too() -> None:
    assert _named("gymnasium").command.endswith(" environment.name=gymnasium environment.id=CartPole-v1")
    assert _named("ppo").command == "rltk train RECIPE rl.algorithm.name=ppo"


def test_a_plugin_without_a_package_is_named_on_the_command_line(toys: Registry) -> None:
    (item,), _ = find("toy_second", toys)
    command = describe(item, toys).command
    assert command == f"rltk train RECIPE -p {TOY_PLUGIN} count.algorithm.name=toy_second"


def test_no_example_where_none_is_known_to_be_valid(toys: Registry) -> None:
    class Coded(toys.get("algorithm", "toy_first")):  # type: ignore[misc]
        name = "coded"

        class Config(rltk.ComponentConfig):
            code: str = Field(pattern="^[0-9]{4}$", description="Four digits.")

    source = Source("here", "this program", load=lambda: None)
    found = describe(Provided("algorithm", Coded, source), toys)
    assert (found.example, found.command) == ("", "")


@pytest.mark.parametrize("name", ["toy_second", "algorithm.toy_second", "algorithm:toy_second"])
def test_a_component_is_found_by_name_and_by_kind_and_name(toys: Registry, name: str) -> None:
    provided, sources = find(name, toys)
    assert [item.component.name for item in provided] == ["toy_second"] and sources == []


def test_a_plugins_name_means_all_it_provides(toys: Registry) -> None:
    provided, sources = find("toy_plugin", toys)
    assert {item.component.name for item in provided} == {"toy", "toy_first", "toy_second", "count", "polite"}
    assert [source.plugin for source in sources] == ["toy_plugin"]


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("toy_secnd", "did you mean 'toy_second'"),
        ("algorithm.toy_secnd", "did you mean 'toy_second'"),
        ("zzz", "see rltk plugins"),
        ("broken", "see rltk plugins show reward_broken, which is not loaded"),
    ],
)
def test_an_unknown_name_says_what_may_have_been_meant(toys: Registry, name: str, fix: str) -> None:
    toys.sources.append(Source("reward_broken", "alpha", load=lambda: None))
    toys.blocked["reward_broken"] = "by -p no:reward_broken"
    with pytest.raises(UserError) as error:
        find(name, toys)
    assert error.value.what == "no component or plugin of this name" and error.value.fix == fix


def _shown(item: Description, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    render([item], [], console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [40, 60, 120, 160])
def test_every_option_can_be_read_at_any_width(width: int) -> None:
    item = _named("stage.pretrain")
    lines = _shown(item, width).splitlines()
    assert max(map(len, lines)) <= width and all(line == line.rstrip() for line in lines)
    words = {word for line in lines for word in line.split()}
    assert {option.name for option in item.options} <= words
    text = " ".join(" ".join(lines).split())
    if width < 90:  # one paragraph an option, so that nothing stands between its words
        assert "share of steps in which the rate rises to its peak" in text


def test_a_wide_terminal_gets_a_table() -> None:
    text = _shown(_named("ppo"), 120)
    row = next(line for line in text.splitlines() if line.split()[:1] == ["schedule"])
    assert row.split()[1:5] == ['"constant"', "|", '"linear"', "constant"]
    assert "paper  Schulman et al. 2017" in text
    assert "rltk train RECIPE rl.algorithm.name=ppo" in text


@pytest.mark.usefixtures("toys")  # which puts this process's registry back
def test_json_has_the_schema_too(capsys: pytest.CaptureFixture[str]) -> None:
    show_plugin("toy_second", [str(TOY_PLUGIN)], as_json=True)
    (component,) = json.loads(capsys.readouterr().out)["components"]
    assert component["options"][0]["type"] == "float > 0"
    schema = jsonschema.Draft202012Validator(component["schema"])
    assert schema.is_valid({"max_kl": 0.1})
    assert not schema.is_valid({"max_kl": 0}) and not schema.is_valid({"max_lk": 1})


@pytest.mark.usefixtures("toys")
def test_a_plugin_that_does_not_work_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_plugin("reward_length", ["no:reward_length"], as_json=False)
    text = capsys.readouterr().out
    assert "plugin reward_length  blocked" in text and "left out: by -p no:reward_length" in text

    def fail() -> object:
        raise ModuleNotFoundError("No module named 'xyz'", name="xyz")

    registry = Registry([Source("reward_broken", "alpha", fail, version="1.2")])
    from rltk.describing.show import state_of

    state = state_of(registry.sources[0], registry)
    assert (state.status, state.why) == ("FAILED", "ModuleNotFoundError: No module named 'xyz'")
    assert "install the package 'xyz'" in state.fix


def test_an_observers_hooks_are_named() -> None:
    _, (source,) = find("observer_progress", get_registry())
    from rltk.describing.show import state_of

    assert {"rltk_run_start", "rltk_metrics"} <= set(state_of(source, get_registry()).hooks)
