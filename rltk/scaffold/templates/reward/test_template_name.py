"""What every reward has to keep to, and what this one is for."""

from rltk import Episode
from rltk.testing import check_reward_model

from rltk_template_name import TemplateNameReward


def test_it_keeps_the_contract() -> None:
    check_reward_model(TemplateNameReward)


def test_it_pays_up_to_the_limit() -> None:
    config = TemplateNameReward.Config(word="thanks", limit=2)
    reward = TemplateNameReward(config)
    responses = ["no", "Thanks", "thanks thanks thanks", ""]
    assert reward.score([Episode("hello", response) for response in responses]) == [0.0, 0.5, 1.0, 0.0]
