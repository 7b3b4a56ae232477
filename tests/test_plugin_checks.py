"""Every mistake in a plugin is found, all at once, and said so that its author can act."""

from importlib.metadata import Distribution
from pathlib import Path
from types import ModuleType

import pytest

import rltk
from rltk.errors import PluginError
from rltk.plugin_checks import ARGUMENTS, check_component, check_plugin, missing_package_fix
from tests import fake_distribution


def _module(code: str) -> ModuleType:
    module = ModuleType("made_for_the_test")
    exec("import rltk\n" + code, module.__dict__)
    return module


def _problems(code: str) -> list[str]:
    with pytest.raises(PluginError) as error:
        check_plugin(_module(code))
    return str(error.value).split("; ")


def test_the_arguments_of_every_hook_are_known() -> None:
    assert ARGUMENTS["rltk_metrics"] == ("stage", "step", "total", "metrics")
    assert ARGUMENTS["rltk_policies"] == ()


def test_all_mistakes_are_named_not_only_the_first() -> None:
    code = """
RLTK_API = 99

@rltk.hookimpl
def rltk_stagse(): return []

@rltk.hookimpl
def rltk_metrics(stage, setp, **rest): pass

@rltk.hookimpl
def rltk_checkpoint(step=0): pass

def rltk_policies(): return []
"""
    assert _problems(code) == [
        f"written for plugin API 99, this is rltk {rltk.__version__} with API {rltk.API_VERSION}",
        "rltk_checkpoint: argument 'step' must have no default",
        "rltk_metrics has no argument 'setp' (it is given stage, step, total, metrics)",
        "rltk_metrics: name the arguments instead of *args or **kwargs"
        " (it is given stage, step, total, metrics)",
        "rltk_policies lacks the decorator @rltk.hookimpl",
        "unknown hook 'rltk_stagse' (did you mean 'rltk_stages')",
    ]


def test_a_hook_may_have_another_name_and_take_part_of_the_arguments() -> None:
    check_plugin(_module("@rltk.hookimpl(specname='rltk_metrics')\ndef watch(step): pass"))
    assert _problems("@rltk.hookimpl(specname='rltk_metric')\ndef watch(step): pass") == [
        "unknown hook 'rltk_metric' (did you mean 'rltk_metrics')"
    ]


@pytest.mark.parametrize("option", ["wrapper", "hookwrapper"])
def test_wrappers_are_refused(option: str) -> None:
    problem = "rltk_metrics: wrappers are not supported, only plain implementations"
    assert _problems(f"@rltk.hookimpl({option}=True)\ndef rltk_metrics(step): yield") == [problem]


def test_methods_of_an_object_are_checked_as_well() -> None:
    class Plugin:
        @rltk.hookimpl
        def rltk_metrics(self, step: int, wrong: int) -> None: ...

        @property
        def explosive(self) -> None:
            raise RuntimeError("must not be evaluated")

    with pytest.raises(PluginError, match="rltk_metrics has no argument 'wrong'"):
        check_plugin(Plugin())


def test_a_hook_imported_from_elsewhere_is_no_mistake() -> None:
    check_plugin(_module("from rltk.hookspecs import rltk_stages"))


def test_the_version_of_the_contracts_may_be_left_out_or_match() -> None:
    check_plugin(_module(""))
    check_plugin(_module(f"RLTK_API = {rltk.API_VERSION}"))


@pytest.mark.parametrize(
    ("component", "reason"),
    [
        (3, "rltk_reward_models returned 3, which is no subclass of RewardModel"),
        (rltk.Stage, "is no subclass of RewardModel"),
        (rltk.RewardModel, r"RewardModel.name must be letters, digits, '\.', '_', '-'; got None"),
    ],
)
def test_what_is_no_component(component: object, reason: str) -> None:
    with pytest.raises(PluginError, match=reason):
        check_component("reward_model", component)


def test_a_missing_package_is_asked_for_by_the_extra_that_brings_it(tmp_path: Path) -> None:
    fake_distribution.install(
        tmp_path,
        "my-plugin",
        {},
        {},
        metadata="Provides-Extra: lora\nProvides-Extra: other\n"
        'Requires-Dist: numpy\nRequires-Dist: json_tools>=1; extra == "other"\n'
        'Requires-Dist: peft; extra == "lora"\n',
    )
    [distribution] = Distribution.discover(path=[str(tmp_path)])
    assert missing_package_fix("peft.tuners", distribution) == "pip install 'my-plugin[lora]'"
    assert missing_package_fix("json_tools", distribution) == "pip install 'my-plugin[other]'"
    assert missing_package_fix("elsewhere", distribution) == "install the package 'elsewhere'"
    assert missing_package_fix("my_plugin", distribution) == "install my-plugin again"
    assert missing_package_fix("elsewhere", None) == "install the package 'elsewhere'"
