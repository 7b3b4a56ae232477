"""What players do, in the small worlds of world.py."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from rltk.bench.answerers import Answerer, AnsweringPlayer, Question
from rltk.bench.forms import read_form
from rltk.bench.loading import Loader, check_reads
from rltk.bench.players import PolicyPlayer
from rltk.bench.tasks import Task, choose_rows, initial_states, prompt_key
from rltk.bench.wrappers import BestOf, FewShot
from rltk.errors import UserError
from rltk.few_shot import few_shot_prefix
from rltk.registry import construct, create
from rltk.testing.worlds import word_tokenizer


def environment(name: str = "echo", **options: Any) -> Any:
    return construct("environment", name, options, where="environment", seed=0)


def task_in(name: str = "echo", *, rows: int = 5, **fields: Any) -> Task:
    world = environment(name)
    prompts, places = choose_rows(world.prompts("test"), rows, 0)
    return Task(world, True, "test", prompts, places, **{"seed": 3, "slots": 4, **fields})


def player_of(form: Any, world: Any) -> Any:
    return Loader(torch.device("cpu"), 0).player(read_form(form), world, None)


def responses(player: Any, task: Task) -> list[str]:
    return [attempt.said.response for attempt in player.play(task)]


def test_the_same_rows_are_chosen_for_the_same_seed() -> None:
    rows = [{"prompt": f"w{i}"} for i in range(20)]
    chosen, places = choose_rows(rows, 6, 1)
    assert (chosen, places) == choose_rows(rows, 6, 1)
    assert places == sorted(set(places)) != choose_rows(rows, 6, 2)[1]
    assert [rows[place] for place in places] == chosen
    assert choose_rows(rows, 50, 1)[1] == list(range(20))
    with pytest.raises(UserError, match="no prompts"):
        choose_rows([], 5, 1)


def test_prompt_keys_tell_rows_apart() -> None:
    rows = [{"prompt": "a", "x": 1}, {"x": 1, "prompt": "a"}, {"prompt": "a", "x": 2}]
    keys = [prompt_key(row) for row in rows]
    assert keys[0] == keys[1] != keys[2]
    assert all(len(key) == 16 and int(key, 16) >= 0 for key in keys)


@pytest.mark.parametrize("slots", [1, 3, 64])
def test_what_a_policy_says_does_not_depend_on_the_slots(slots: int) -> None:
    task = task_in(samples=2)
    player = player_of("random", task.environment)
    expected = player.play(task)
    assert player.play(dataclasses.replace(task, slots=slots)) == expected
    prompts = [attempt.said.prompt for attempt in expected]
    assert prompts == [row["prompt"] for row in task.rows for _ in range(2)]


@pytest.mark.parametrize("slots", [1, 3, 64])
def test_states_begin_alike_for_every_policy_and_number_of_slots(slots: int) -> None:
    world = environment("gymnasium", id="CartPole-v1")
    rows, places = initial_states(5, 7)
    task = Task(world, False, "test", rows, places, seed=3, slots=slots)
    attempts = player_of("random", world).play(task)
    alone = [
        player_of("random", world).play(dataclasses.replace(task, rows=rows[:n], indices=places[:n]))[-1]
        for n in (1, 5)
    ]
    assert [attempts[0], attempts[4]] == alone
    assert all(attempt.score == attempt.length for attempt in attempts)
    assert all(attempt.terminated and not attempt.truncated for attempt in attempts)


def test_an_episode_that_is_cut_off_says_so() -> None:
    world = environment("gymnasium", id="CartPole-v1", options={"max_episode_steps": 6})
    rows, places = initial_states(3, 7)
    attempts = player_of("random", world).play(Task(world, False, "test", rows, places, seed=3))
    assert [(a.length, a.terminated, a.truncated) for a in attempts] == [(6, False, True)] * 3


def test_several_samples_begin_in_one_state_and_go_apart() -> None:
    world = environment("gymnasium", id="CartPole-v1")
    rows, places = initial_states(2, 7)
    attempts = player_of("random", world).play(Task(world, False, "test", rows, places, seed=3, samples=4))
    assert len(attempts) == 8
    assert len({attempt.length for attempt in attempts[:4]}) > 1


def test_the_oracle_says_what_it_knows_and_ends() -> None:
    task = task_in()
    attempts = player_of("oracle", task.environment).play(task)
    for attempt, row in zip(attempts, task.rows, strict=True):
        assert attempt.said.response == row["prompt"]
        assert attempt.terminated
        assert attempt.length == len(row["prompt"].split()) + 1


def test_the_oracle_hears_what_the_environment_answers() -> None:
    task = task_in("lock", samples=2)
    attempts = player_of("oracle", task.environment).play(task)
    assert [task.environment.metrics(a.said) for a in attempts] == [{"utility": 1.0, "turns": 2.0}] * 10
    assert attempts[0].length == 5  # two words and the end, one word and the end


def test_an_oracle_without_tokens_for_its_words_is_one_line() -> None:
    task = task_in()
    task.environment.oracle = lambda row, turns: "zebra"
    with pytest.raises(UserError, match="no tokens for it, got 'zebra'"):
        player_of("oracle", task.environment).play(task)


class Says(Answerer):
    """Says the same to every question, and keeps the questions."""

    def __init__(self, text: str) -> None:
        self.text, self.asked = text, list[Question]()

    def answer(self, questions: Any) -> list[str]:
        self.asked += questions
        return [self.text] * len(questions)


def test_words_without_tokens_are_judged_as_they_were_said() -> None:
    task = task_in()
    attempts = AnsweringPlayer(Says("w3 zebra"), word_tokenizer()).play(task)
    assert attempts[0].said.response == "w3 zebra"
    assert attempts[0].length == 3


def test_every_question_has_its_own_seed_and_the_formatted_prompt() -> None:
    task, says = task_in(samples=2, prefix="w9 "), Says("w1")
    AnsweringPlayer(says, word_tokenizer()).play(task)
    assert len({question.seed for question in says.asked}) == 10
    assert says.asked[0].text == f"w9 {task.rows[0]['prompt']} w28"
    assert (says.asked[0].row, says.asked[0].turns) == (task.rows[0], ())


def test_what_is_not_allowed_becomes_the_end() -> None:
    task = task_in("restricted")
    assert responses(AnsweringPlayer(Says("w5 w6"), word_tokenizer()), task) == ["w5"] * 5
    drawn = responses(player_of("random", task.environment), task)
    assert set(" ".join(drawn).split()) == {"w5"}


def test_tokens_of_another_kind_are_refused_where_they_are_restricted(model: str) -> None:
    task = task_in("restricted")
    player = player_of(model, task.environment)
    player.tokenizer.add_tokens(["w99"])
    with pytest.raises(UserError, match="tokenizer: the environment restricts tokens"):
        player.play(task)


def test_a_tokenizer_has_to_know_the_prompts() -> None:
    echo, instruct = environment(), environment("instruct", heldout_prompts=20)
    prompts = [row["prompt"] for row in instruct.prompts("test")]
    check_reads(instruct.build_tokenizer(), instruct, prompts)
    check_reads(None, instruct, prompts)
    check_reads(word_tokenizer(), echo, ["w3 w4"])
    with pytest.raises(UserError, match=r"tokenizer: .* no tokens for the prompts") as error:
        check_reads(word_tokenizer(), instruct, prompts)
    assert "\n" not in str(error.value)


def test_kl_is_the_difference_of_the_log_probabilities(model: str) -> None:
    task = task_in()
    cold = {"policy": {"name": "causal_lm", "path": model, "temperature": 0.5}}
    reference = create("policy", "causal_lm", path=model)
    player = player_of(cold, task.environment)
    attempts = player.play(dataclasses.replace(task, reference=reference))
    for attempt in attempts:
        said, total = attempt.said, 0.0
        tokens = torch.tensor([*said.prompt_tokens, *said.response_tokens])
        logits = reference.model(tokens[None]).logits[0].detach().double().numpy()
        for place, token in enumerate(said.response_tokens, start=len(said.prompt_tokens)):
            plain = logits[place - 1] - np.log(np.exp(logits[place - 1]).sum())
            sharp = 2 * logits[place - 1] - np.log(np.exp(2 * logits[place - 1]).sum())
            total += float(sharp[token] - plain[token])
        assert attempt.kl == pytest.approx(total, abs=1e-3)
    assert [attempt.kl for attempt in player.play(task)] == [None] * 5


def test_the_best_of_one_is_the_policy_itself(model: str) -> None:
    task = task_in(samples=2)
    player = player_of(model, task.environment)
    assert BestOf(player, 1, None).play(task) == player.play(task)


def test_the_best_of_several_has_the_best_score_of_its_group(model: str) -> None:
    task = task_in(samples=2)
    player = player_of(model, task.environment)
    best = BestOf(player, 3, None).play(task)
    everything = player.play(dataclasses.replace(task, samples=6))
    for number, attempt in enumerate(best):
        group = everything[3 * number : 3 * number + 3]
        scores = [task.environment.metrics(one.said)["utility"] for one in group]
        assert attempt == group[int(np.argmax(scores))]


def test_a_reward_chooses_too_and_the_first_of_equals_stays() -> None:
    task = task_in()
    player = player_of("random", task.environment)

    def shortness(episodes: Any) -> list[float]:
        return [-len(episode.response_tokens) for episode in episodes]

    best = BestOf(player, 4, shortness).play(task)
    everything = player.play(dataclasses.replace(task, samples=4))
    lengths = np.array([attempt.length for attempt in everything]).reshape(5, 4)
    assert [attempt.length for attempt in best] == lengths.min(1).tolist()
    constant = BestOf(player, 4, lambda episodes: [0.0] * len(episodes)).play(task)
    assert constant == everything[::4]


def test_the_kl_of_the_best_of_several_is_known() -> None:
    task = task_in()
    player = player_of("random", task.environment)
    best = BestOf(player, 4, None, from_reference=True).play(task)
    assert [attempt.kl for attempt in best] == [pytest.approx(np.log(4) - 0.75)] * 5


def test_without_a_truth_there_is_nothing_to_choose_by() -> None:
    task = task_in("no_truth")
    with pytest.raises(UserError, match="no truth to choose by"):
        BestOf(player_of("random", task.environment), 2, None).play(task)


def test_demonstrations_are_read_before_every_prompt() -> None:
    task, says = task_in(), Says("w1 w2")
    attempts = FewShot(AnsweringPlayer(says, word_tokenizer()), 2, ("w2",)).play(task)
    prefix = few_shot_prefix(task.environment, 2, task.seed)
    shown = [row["prompt"] for row in task.environment.demonstrations("train")]
    assert len(prefix.split(" w28 ")) == 3
    assert all(word in " ".join(shown) for word in prefix.split(" w28 ")[0].split())
    assert [question.text for question in says.asked] == [f"{prefix}{row['prompt']} w28" for row in task.rows]
    tokenizer = word_tokenizer()
    for attempt, row in zip(attempts, task.rows, strict=True):
        assert attempt.said.response == "w1"
        assert tokenizer.decode(attempt.said.prompt_tokens) == f"{row['prompt']} w28"
        assert tokenizer.decode(attempt.said.response_tokens) == "w1 <eos>"


def test_only_right_demonstrations_are_shown() -> None:
    world = environment()
    right = world.demonstrations("train")[:3]
    wrong = [{**row, "response": "w1"} for row in world.demonstrations("train")]
    world.demonstrations = lambda split: [*wrong, *right]
    prefix = few_shot_prefix(world, 3, 0)
    assert prefix in {
        world.few_shot_prefix(rows) for rows in ([right[i] for i in p] for p in _permutations(3))
    }


def _permutations(count: int) -> list[tuple[int, ...]]:
    import itertools

    return list(itertools.permutations(range(count)))


def test_wrappers_nest() -> None:
    task = task_in()
    form = {"best_of": 2, "of": {"shots": 1, "of": "oracle"}}
    assert responses(player_of(form, task.environment), task) == [row["prompt"] for row in task.rows]


def test_policies_are_made_once(model: str) -> None:
    loader, echo, lock = Loader(torch.device("cpu"), 0), environment(), environment("lock")
    one, two = (loader.player(read_form(model), world, None) for world in (echo, lock))
    assert isinstance(one, PolicyPlayer)
    assert isinstance(two, PolicyPlayer)
    assert one.policy is two.policy
    three, four = (loader.player(read_form("random"), world, None) for world in (echo, lock))
    assert three.policy is not four.policy  # type: ignore[attr-defined]
