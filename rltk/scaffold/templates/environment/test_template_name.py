"""What every environment has to keep to, and what this one asks for."""

from rltk import Episode
from rltk.testing import check_environment

from rltk_template_name import TemplateNameEnvironment


def test_it_keeps_the_contract() -> None:
    check_environment(TemplateNameEnvironment)


def test_demonstrations_are_right_and_splits_apart() -> None:
    config = TemplateNameEnvironment.Config(letters=2)
    environment = TemplateNameEnvironment(config, seed=0)
    rows = environment.demonstrations("train") + environment.demonstrations("test")
    assert len({row["prompt"] for row in rows}) == len(rows)
    episodes = [Episode(row["prompt"], row["response"], columns=row) for row in rows]
    assert {environment.metrics(episode)["utility"] for episode in episodes} == {1.0}


def test_a_wrong_word_is_worth_nothing() -> None:
    config = TemplateNameEnvironment.Config()
    environment = TemplateNameEnvironment(config, seed=0)
    assert environment.metrics(Episode("abc", "abd", columns={"answer": "abc"})) == {"utility": 0.0}
