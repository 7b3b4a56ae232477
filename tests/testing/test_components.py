"""What every component must hold: each way of breaking it is named."""

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ConfigDict, Field, field_validator

import rltk
from rltk.testing import check_reward_model
from rltk.testing.components import OptionsNeededError


class Good(rltk.RewardModel):
    """Pays for words."""

    name = "good"

    class Config(rltk.ComponentConfig):
        price: float = Field(0.5, description="What a word is worth.")

    def score(self, episodes):
        return [self.config.price * len(episode.response.split()) for episode in episodes]


def test_a_good_component_passes():
    check_reward_model(Good)
    check_reward_model(Good, {"price": 2.0})


class NoName(Good):
    """It has a name that no config can write."""

    name = "no name"


class NoDocstring(Good):
    name = "bare"


class NotDerived(Good):
    """Its Config is a plain model."""

    class Config:
        pass


class Undescribed(Good):
    """Its option is not described."""

    class Config(rltk.ComponentConfig):
        price: float = 0.5


class Lax(Good):
    """It takes any option."""

    class Config(Good.Config):
        model_config = ConfigDict(extra="allow")


class WrongDefault(Good):
    """Its default is below its own minimum, and nobody validates it."""

    class Config(rltk.ComponentConfig):
        model_config = ConfigDict(validate_default=False)
        price: float = Field(-1.0, ge=0, description="What a word is worth.")


class Drifting(Good):
    """Its validator does not accept what it returns."""

    class Config(rltk.ComponentConfig):
        price: float = Field(0.5, description="What a word is worth, in percent.")

        @field_validator("price")
        @classmethod
        def to_share(cls, value: float) -> float:
            return value / 100


class Unwritable(Good):
    """Its option comes back from JSON as something else."""

    class Config(rltk.ComponentConfig):
        words: Any = Field(frozenset({"a"}), description="What is paid for.")


class Demanding(Good):
    """It asks for what nobody has."""

    def __init__(self, config, *, database):
        super().__init__(config)


class Configless(Good):
    """It takes no config."""

    def __init__(self, *, device="cpu"):
        super().__init__(self.Config())


class Abstract(rltk.RewardModel):
    """It does not score."""

    name = "abstract"


@pytest.mark.parametrize(
    ("mutant", "reason"),
    [
        (NoName, r"NoName.name must be letters, digits.* got 'no name'"),
        (NoDocstring, "it has no docstring"),
        (NotDerived, r"Config must derive from rltk.ComponentConfig"),
        (Undescribed, r"Every option is described: no description of price"),
        (Lax, "Unknown options are errors: Config accepts the unknown key"),
        (WrongDefault, "a default is not valid: price: Input should be greater than or equal to 0"),
        (Drifting, "survives being written to the run's config.yaml and read back: price came back"),
        (Unwritable, "survives being written to the run's config.yaml and read back: words came back"),
        (Demanding, "it requires 'database', which nobody offers. Fix: offered are device, tokenizer"),
        (Configless, "it takes no config"),
        (Abstract, "Abstract lacks score"),
        (int, "is no subclass of RewardModel"),
    ],
)
def test_what_is_wrong_is_named(mutant, reason):
    with pytest.raises(AssertionError, match=reason):
        check_reward_model(mutant, {} if mutant is int else None)


def test_options_that_are_needed_are_asked_for():
    class Needy(Good):
        """It needs a path."""

        class Config(rltk.ComponentConfig):
            path: str = Field(description="Folder of the word list.")

    expected = r"without the options path \(Folder of the word list\)\. Fix: return them from its check"
    with pytest.raises(OptionsNeededError, match=expected):
        check_reward_model(Needy)
    with pytest.raises(OptionsNeededError):
        check_reward_model(Needy, {})


def test_misspelt_options_get_a_suggestion():
    with pytest.raises(AssertionError, match=r"pirce.* Fix: pirce: did you mean 'price'"):
        check_reward_model(Good, {"pirce": 1})


def test_options_of_check_options_are_used_and_its_folder_is_empty(tmp_path):
    class Filed(Good):
        """It reads a file."""

        class Config(rltk.ComponentConfig):
            path: str = Field(description="A file.")

        @classmethod
        def check_options(cls, directory):
            assert list(directory.iterdir()) == []
            (directory / "words.txt").write_text("w3")
            return {"path": str(directory / "words.txt")}

        def score(self, episodes):
            with open(self.config.path) as file:  # noqa: PTH123 - a path as configs hold it
                word = file.read()
            return [float(word in episode.response) for episode in episodes]

    check_reward_model(Filed)
    check_reward_model(Filed, directory=tmp_path)
    assert (tmp_path / "words.txt").exists()


@pytest.mark.parametrize(
    ("returned", "reason"),
    [(None, r"reward_model 'good': check_options\(\) returned None"), (1 / 3, "returned 0.33")],
)
def test_options_that_are_no_options_are_refused(returned, reason):
    class Odd(Good):
        """It offers no dict."""

        @classmethod
        def check_options(cls, directory):
            return returned

    with pytest.raises(AssertionError, match=reason):
        check_reward_model(Odd)


def test_an_error_in_check_options_is_named():
    class Broken(Good):
        """It cannot prepare what it needs."""

        @classmethod
        def check_options(cls, directory):
            return {"price": (directory / "price").read_text()}

    with pytest.raises(AssertionError, match=r"check_options\(\) raised FileNotFoundError"):
        check_reward_model(Broken)


def test_progress_is_told_of_every_check_and_of_the_failure():
    told: list[tuple[str, bool]] = []
    with pytest.raises(AssertionError):
        check_reward_model(Undescribed, progress=lambda title, error: told.append((title, error is None)))
    assert told == [
        ("It is a complete subclass of the class of its kind, with a name and a Config", True),
        ("Its docstring says in one line what it is", True),
        ("Every option is described", False),
    ]


def test_importing_the_package_is_cheap():
    code = "import rltk.testing, sys; print({'torch', 'pytest', 'transformers'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_the_public_names_are_lazy_and_others_are_refused():
    import rltk.testing

    assert rltk.testing.check_reward_model is check_reward_model
    with pytest.raises(AttributeError, match="check_nothing"):
        _ = rltk.testing.check_nothing
