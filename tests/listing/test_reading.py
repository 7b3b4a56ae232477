"""What is read from a plugin's text is what loading it gives."""

import importlib.metadata
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from rltk.errors import PluginError
from rltk.listing.reading import NOTHING_KNOWN, Reading, read_plugin
from rltk.listing.static_modules import forget
from rltk.plugin_sources import Source, entry_point_sources, local_source
from rltk.registry import Registry
from tests.plugin_site import HEAVY, plugin_site, write

TOY_PLUGIN = Path(__file__).parent.parent / "toy_plugin.py"
INSTALLED = entry_point_sources(importlib.metadata.entry_points(group="rltk"))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with plugin_site(tmp_path, monkeypatch) as folder:
        yield folder
    forget()


def _loaded(source: Source) -> Reading:
    """Return what loading says, in the words of reading."""
    registry = Registry([source])
    assert registry.failures == []
    components = frozenset((item.kind, item.component.name) for item in registry.provided)
    return Reading(components, frozenset(registry.event_hooks(source.plugin)))


@pytest.mark.parametrize(
    "source", [*INSTALLED, local_source(str(TOY_PLUGIN))], ids=lambda source: source.qualified
)
def test_reading_agrees_with_loading(source: Source) -> None:
    assert read_plugin(source) == _loaded(source)


#: A component that is loaded to compare, and to be put into all shapes in which plugins hand over theirs.
CLASSES = """
import rltk
class One(rltk.RewardModel):
    name = "one"
    def score(self, episodes): return []
class Two(One):
    name = "two"
class Same(One): ...
"""
HOOK = "\n@rltk.hookimpl\ndef rltk_reward_models():\n    return {}\n"

KNOWN = {
    "list": (CLASSES + HOOK.format("[One, Two]"), {"one", "two"}),
    "inherited name": (CLASSES + HOOK.format("[Same]"), {"one"}),
    "constant tuple": (CLASSES + "ALL = (One, Two)" + HOOK.format("ALL"), {"one", "two"}),
    "named by a constant": (
        'NAME = "zwei"\n' + CLASSES.replace('"two"', "NAME") + HOOK.format("[Two]"),
        {"zwei"},
    ),
    "annotated name": (CLASSES.replace("name =", "name: str =") + HOOK.format("[Two]"), {"two"}),
    "imported": ("import rltk\nfrom classes import One as Eins" + HOOK.format("[Eins]"), {"one"}),
    "imported in the hook": (
        "import rltk" + HOOK.format("[Two]").replace("    return", "    from classes import Two\n    return"),
        {"two"},
    ),
    "of a module": ("import rltk\nimport classes as c" + HOOK.format("[c.One, c.Two]"), {"one", "two"}),
    "of a submodule": ("import rltk\nimport pack.deep" + HOOK.format("[pack.deep.Deep]"), {"deep"}),
    "imported again": ("import rltk\nfrom pack import Deep" + HOOK.format("[Deep]"), {"deep"}),
    "star": ("import rltk\nfrom classes import *" + HOOK.format("[One]"), {"one"}),
    "imported hook": ("from hooks import rltk_reward_models", {"one", "two"}),
    "marker by another name": (
        CLASSES + HOOK.format("[One]").replace("@rltk.hookimpl", "from rltk import hookimpl as mark\n@mark"),
        {"one"},
    ),
    "marker of pluggy": (
        CLASSES
        + "import pluggy\nmark = pluggy.HookimplMarker('rltk')"
        + HOOK.format("[One]").replace("rltk.hookimpl", "mark"),
        {"one"},
    ),
    "another name for the hook": (
        CLASSES + '@rltk.hookimpl(specname="rltk_reward_models")\ndef mine():\n    return [One]\n',
        {"one"},
    ),
    "another host's hook": (
        CLASSES
        + HOOK.format("[One]")
        + "import pytest\n@pytest.hookimpl\ndef pytest_runtest_setup(item): ...\n",
        {"one"},
    ),
    "functions": (
        "import rltk\nfrom rltk import reward\n@rltk.reward\ndef a(episode): return 1.0\n"
        "@reward\nasync def b(episode): return 1.0\n",
        {"a", "b"},
    ),
}
MODULES = {
    "classes.py": CLASSES,
    "hooks.py": "import rltk\nfrom classes import One, Two" + HOOK.format("[One, Two]"),
    "pack/__init__.py": "from .deep import Deep\n",
    "pack/deep.py": "from classes import One\nclass Deep(One):\n    name = 'deep'\n",
}


@pytest.mark.parametrize("case", KNOWN)
def test_every_way_to_hand_components_over_is_read(site: Path, case: str) -> None:
    text, names = KNOWN[case]
    write(site, MODULES | {"mine.py": text})
    expected = Reading(frozenset(("reward_model", name) for name in names))
    assert read_plugin(local_source("mine")) == expected == _loaded(local_source("mine"))


UNKNOWN = {
    "made by a function": "[make()]",
    "changed since": "CHANGED",
    "comprehension": "[item for item in (One, Two)]",
    "computed name": "[Computed]",
    "either": "[One] if rltk else [Two]",
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_what_the_text_does_not_give_away_is_not_invented(site: Path, case: str) -> None:
    more = "def make(): return One\nCHANGED = [One]\nCHANGED.append(Two)\n"
    more += 'class Computed(One):\n    name = f"{1}"\n'
    (site / "mine.py").write_text(CLASSES + more + HOOK.format(UNKNOWN[case]))
    assert read_plugin(local_source("mine")).components == {("reward_model", None)}


def test_a_hook_that_may_not_be_there_is_a_question(site: Path) -> None:
    hook = HOOK.format("[One]").replace("\n", "\n    ")
    (site / "mine.py").write_text(f"{CLASSES}if rltk:{hook}\n")
    assert read_plugin(local_source("mine")).components == {("reward_model", None)}


def test_an_object_is_read_by_its_class(site: Path) -> None:
    method = HOOK.format("[One]").replace("\n", "\n    ").replace("()", "(self)")
    (site / "mine.py").write_text(f"{CLASSES}class Plugin:{method}\nplugin = Plugin()\nother = print()\n")
    point = importlib.metadata.EntryPoint("mine", "mine:plugin", "rltk")
    (source,) = entry_point_sources([point])
    assert read_plugin(source) == _loaded(source) == Reading(frozenset({("reward_model", "one")}))
    (unreadable,) = entry_point_sources([importlib.metadata.EntryPoint("mine", "mine:other", "rltk")])
    assert read_plugin(unreadable) == NOTHING_KNOWN


def test_what_has_no_text_is_a_question() -> None:
    assert read_plugin(Source("object", "program", load=object)) == NOTHING_KNOWN
    assert read_plugin(local_source("math")) == NOTHING_KNOWN


BROKEN = {
    "package not installed": ("import nowhere_at_all.part", "No module named 'nowhere_at_all'"),
    "no such name in rltk": ("from rltk.interfaces import Nothing", "cannot import name 'Nothing' from"),
    "no such public name": ("from rltk import Nothing", "cannot import name 'Nothing' from 'rltk'"),
    "no such module in rltk": ("import rltk.nothing", "No module named 'rltk.nothing'"),
    "relative to nothing": ("from .x import y", "relative import with no known parent package"),
    "syntax": ("x =", "SyntaxError: invalid syntax (broken.py, line 3)"),
    "misspelt hook": ("@rltk.hookimpl\ndef rltk_stagse(): return []", "unknown hook 'rltk_stagse'"),
    "wrong argument": ("@rltk.hookimpl\ndef rltk_metrics(setp): ...", "rltk_metrics has no argument 'setp'"),
    "default": ("@rltk.hookimpl\ndef rltk_metrics(step=1): ...", "argument 'step' must have no default"),
    "keyword default": ("@rltk.hookimpl\ndef rltk_metrics(*, step=1): ...", "'step' must have no default"),
    "star": ("@rltk.hookimpl\ndef rltk_metrics(**rest): ...", "name the arguments instead of *args"),
    "unmarked": ("def rltk_stages(): return []", "rltk_stages lacks the decorator @rltk.hookimpl"),
    "wrapper": ("@rltk.hookimpl(wrapper=True)\ndef rltk_metrics(): yield", "wrappers are not supported"),
    "version": ("RLTK_API = 99", "written for plugin API 99"),
    "several": ("RLTK_API = 99\n@rltk.hookimpl\ndef rltk_x(): ...\ndef rltk_stages(): ...", "rltk_x"),
    "bad name": (CLASSES.replace('"two"', '"../two"') + HOOK.format("[Two]"), "Two.name must be letters"),
    "lacks a method": (
        CLASSES.replace("def score", "def scroe") + HOOK.format("[Two]"),
        "Two lacks score",
    ),
    "policy that lacks nearly all": (
        "class Mine(rltk.Policy):\n    name = 'x'\n    def save(self): ...\n"
        "@rltk.hookimpl\ndef rltk_policies(): return [Mine]",
        "Mine lacks actor_parameters, critic_parameters, distribution_parameters, evaluate",
    ),
    "no component": (
        "class Mine:\n    name = 'x'\n" + HOOK.format("[Mine]"),
        "broken.Mine'>, which is no subclass of RewardModel",
    ),
    "component of another kind": (
        CLASSES + HOOK.format("[One]").replace("reward_models", "stages"),
        "broken.One'>, which is no subclass of Stage",
    ),
    "no name": (CLASSES.replace('name = "one"', "") + HOOK.format("[One]"), "got None"),
}  # fmt: skip


@pytest.mark.parametrize("heading", ["", f"import {HEAVY}"], ids=["light", "heavy"])
@pytest.mark.parametrize("case", BROKEN)
def test_reading_and_loading_fail_in_the_same_words(site: Path, case: str, heading: str) -> None:
    text, part = BROKEN[case]
    (site / "broken.py").write_text(f"{heading}\nimport rltk\n{text}\n")
    for source in (local_source(str(site / "broken.py")), local_source("broken")):
        with pytest.raises((PluginError, ImportError, SyntaxError)) as error:
            read_plugin(source)
        (failure,) = Registry([source]).failures
        assert (type(error.value), str(error.value)) == (type(failure.error), str(failure.error))
        assert part in failure.reason
        forget()


SUBMODULES = {
    "import broken.nothing": "No module named 'broken.nothing'",
    "from .nothing import x": "No module named 'broken.nothing'",
    "from .part import nothing": "cannot import name 'nothing' from 'broken.part'",
    "from . import part, nothing": "cannot import name 'nothing' from 'broken'",
    "from . import lacking": "No module named 'nowhere_at_all'",
    "from .wrong import x": "invalid syntax (wrong.py, line 2)",
    "from .deep.down import x": "No module named 'nowhere_at_all'",
}


@pytest.mark.parametrize("statement", SUBMODULES)
def test_the_modules_of_the_same_package_are_read_too(site: Path, statement: str) -> None:
    write(
        site,
        {
            "broken/__init__.py": f"import {HEAVY}\n{statement}\n",
            "broken/part.py": "x = 1\n",
            "broken/wrong.py": "x = 1\ny =\n",
            "broken/lacking.py": "import nowhere_at_all\n",
            "broken/deep/__init__.py": "from broken import lacking\n",
            "broken/deep/down.py": "x = 1\n",
        },
    )
    source = local_source("broken")
    with pytest.raises((ImportError, SyntaxError)) as error:
        read_plugin(source)
    (failure,) = Registry([source]).failures
    # Python adds a guess where a package imports from itself.
    loaded = re.sub(r"partially initialized module | \(most likely .*?\)", "", str(failure.error))
    assert (type(error.value), str(error.value)) == (type(failure.error), loaded)
    assert SUBMODULES[statement] in loaded


def test_what_may_be_absent_is_not_missed(site: Path) -> None:
    write(
        site,
        {
            "mine.py": f"import {HEAVY}\nfrom typing import TYPE_CHECKING\nfrom lazy import later\n"
            "try:\n    import nowhere_at_all\nexcept ImportError: ...\n"
            "if TYPE_CHECKING:\n    import nowhere_either\n"
            "def use():\n    import nowhere_neither\n",
            "lazy.py": "def __getattr__(name): return name\n",
        },
    )
    assert read_plugin(local_source("mine")) == Reading(frozenset())
    assert _loaded(local_source("mine")) == Reading(frozenset())
