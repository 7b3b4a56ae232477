"""What responses are worth, by hand; what is declared of random tokens and of the oracle."""

from random import Random

import pytest

from rltk.envs_scores import oracle_score, random_score
from rltk_envs.suite import rltk_environments
from rltk_envs.suite.arithmetic import Arithmetic
from rltk_envs.suite.brackets import Brackets, may_follow, still_open
from rltk_envs.suite.copying import Copy
from rltk_envs.suite.countdown import Countdown
from rltk_envs.suite.games import Game
from rltk_envs.suite.reversing import Reverse
from rltk_envs.suite.sequences import edit_distance, positions_right
from rltk_envs.suite.sorting import Sort

COMPONENTS = rltk_environments()
ONE_TURN = [component for component in COMPONENTS if not issubclass(component, Game)]
LEVELS = ("easy", "medium", "hard")


def made(component, **options):
    return component(component.Config(**options), seed=0)


@pytest.mark.parametrize(
    ("component", "row", "response", "score"),
    [
        (Copy, {"prompt": "a b c"}, "a b c", 1.0),
        (Copy, {"prompt": "a b c"}, "a b", 2 / 3),
        (Copy, {"prompt": "a b c"}, "b c a", 0.0),
        (Copy, {"prompt": "a b c"}, "a x c d", 2 / 4),
        (Copy, {"prompt": "a b c"}, "", 0.0),
        (Reverse, {"prompt": "a b c"}, "c b a", 1.0),
        (Reverse, {"prompt": "a b c"}, "c a", 2 / 3),
        (Reverse, {"prompt": "a b c"}, "a b c", 1 / 3),
        (Reverse, {"prompt": "a b c"}, "", 0.0),
        (Sort, {"prompt": "3 1 2 1"}, "1 1 2 3", 1.0),
        (Sort, {"prompt": "3 1 2 1"}, "3 1 2 1", 1 / 3),
        (Sort, {"prompt": "3 1 2 1"}, "1 1 1 1", 2 / 4),
        (Sort, {"prompt": "3 1 2 1"}, "1 2", 2 / 4),
        (Sort, {"prompt": "3 1 2 1"}, "1 1 2 3 4 5", 4 / 6),
        (Sort, {"prompt": "3 1 2 1"}, "", 0.0),
        (Arithmetic, {"prompt": "9+8", "answer": "17"}, "17", 1.0),
        (Arithmetic, {"prompt": "9+8", "answer": "17"}, "27", 0.5 / 2),
        (Arithmetic, {"prompt": "9+8", "answer": "17"}, "017", 0.5 * 2 / 3),
        (Arithmetic, {"prompt": "2-5", "answer": "-3"}, "3", 0.5 / 2),
        (Arithmetic, {"prompt": "2-5", "answer": "-3"}, "", 0.0),
        (Countdown, {"numbers": [3, 5, 7], "target": 22}, "3 * 5 + 7", 1.0),
        (Countdown, {"numbers": [3, 5, 7], "target": 22}, "( 3 * 5 ) + 7", 1.0),
        (Countdown, {"numbers": [3, 5, 7], "target": 8}, "3 + 5", 1.0),
        (Countdown, {"numbers": [3, 5, 7], "target": 22}, "3 + 5 + 7", 0.1),
        (Countdown, {"numbers": [3, 5, 7], "target": 6}, "3 + 3", 0.0),
        (Countdown, {"numbers": [3, 5, 7], "target": 22}, "22", 0.0),
        (Countdown, {"numbers": [3, 5, 7], "target": 2}, "- 5 + 7", 0.0),
        (Countdown, {"numbers": [3, 5, 7], "target": 22}, "3 * 5 +", 0.0),
        (Countdown, {"numbers": [3, 5, 7], "target": 8}, "3 / ( 5 - 5 )", 0.0),
        (Countdown, {"numbers": [2, 3], "target": 8}, "2 * * 3", 0.0),
        (Countdown, {"numbers": [6, 4, 2], "target": 3}, "6 / ( 4 / 2 )", 1.0),
        (Countdown, {"numbers": [1], "target": 1}, "( " * 200 + "1" + " )" * 200, 0.0),
        (Countdown, {"numbers": [3], "target": 3}, "", 0.0),
        (Brackets, {"opened": ["(", "["], "count": 4}, "( ) ] )", 1.0),
        (Brackets, {"opened": ["(", "["], "count": 4}, "] { } )", 1.0),
        (Brackets, {"opened": ["(", "["], "count": 4}, "] )", 0.5 * 2 / 4),
        (Brackets, {"opened": ["(", "["], "count": 4}, ") ]", 0.0),
        (Brackets, {"opened": ["(", "["], "count": 4}, "( ( ( ( (", 0.5 / 5),
        (Brackets, {"opened": ["(", "["], "count": 4}, "( ) ] ) )", 0.5 * 4 / 5),
        (Brackets, {"opened": ["("], "count": 1}, "", 0.0),
    ],
)
def test_responses_are_worth_what_was_counted_by_hand(component, row, response, score):
    assert made(component).score(row, response) == pytest.approx(score)


def test_the_edit_distance_and_the_agreement_of_positions():
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance("", "abc") == 3 and edit_distance("abc", "abc") == 0
    assert positions_right([], []) == 1.0 and positions_right("ab", "ba") == 0.0


def test_open_brackets_and_what_may_follow():
    assert still_open("([{}") == ["(", "["]
    assert still_open("(]") is None and still_open(")") is None
    row = {"opened": ["(", "["], "count": 4}
    assert may_follow(row, []) == {"]", *"([{<"}
    assert may_follow(row, ["("]) == {")"}
    assert may_follow(row, ["]", ")"]) == set("([{<")
    assert may_follow(row, ["]", ")", "<", ">"]) == set() == may_follow(row, [")"])


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("component", ONE_TURN, ids=lambda component: component.name)
def test_the_oracle_is_right_wherever_it_is_asked(component, level):
    environment = made(component, level=level)
    rng = Random(1)
    for _ in range(200):
        row = environment.draw(rng, level)
        said = environment.oracle(row)
        assert environment.score(row, said) == 1.0
        assert 0 < len(environment.split_words(said)) <= environment.longest(level)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: component.name)
def test_random_tokens_and_the_oracle_score_what_is_declared(component, level):
    environment = component(component.Config(level=level), seed=5)
    declared, best = environment.score_bounds()
    measured = random_score(environment, episodes=1500, seed=5)
    assert measured.mean == pytest.approx(declared, abs=0.005 + 4 * measured.error)
    assert oracle_score(environment, episodes=40).mean == best == 1.0


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: component.name)
def test_nothing_is_declared_of_a_length_budget_of_ones_own(component):
    assert made(component, max_new_tokens=50).score_bounds() is None
