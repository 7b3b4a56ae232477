"""The length reward by hand."""

import pytest

from rltk.episode import Episode
from rltk_rewards.length import Length

EPISODES = [
    Episode("p", "one two three", response_tokens=(5, 6, 7, 8, 9, 1)),
    Episode("p", "", response_tokens=()),
]


@pytest.mark.parametrize(
    ("per", "target", "expected"),
    [("token", 8, [0.75, 0.0]), ("token", 4, [1.0, 0.0]), ("word", 4, [0.75, 0.0])],
)
def test_it_pays_the_share_of_the_target(per, target, expected):
    assert Length(Length.Config(per=per, target=target)).score(EPISODES) == expected
