"""Errand: the optimum is what brute force finds, and looking no turn ahead misses it."""

from itertools import product

import numpy as np
import pytest

from superalign_env.canonical import to_json
from superalign_env.envs import make_scenario
from superalign_env.errors import InvalidOption
from superalign_env.game import Game
from superalign_env.rollout import Rollouts
from superalign_env.testing import check_env, check_scenario
from superalign_env.types import SPLITS, AgentSpec, EpisodeKey, Reply, Task
from superalign_scenarios.errand import Errand
from superalign_scenarios.errand.roads import (
    MOST,
    OPEN,
    OPENS,
    PRIZE,
    SKIP,
    SMALL,
    SNACK,
    Errands,
    Place,
    after,
    best_worth,
    choices,
    myopic_word,
    optimum,
    read_road,
    road_of,
    split_of_road,
)
from superalign_scenarios.microworld.words import VOCABULARY

SOURCE = Errands()


def tasks(n, split="train", seed=0):
    rng = np.random.default_rng(seed)
    return [SOURCE.draw(rng, split) for _ in range(n)]


def played(words, *, task=None, case=0):
    game = Game(Errand(), EpisodeKey(run=3, case=case), task=task)
    for word in words:
        game.step([Reply(word)])
    return game


def walked(road, choose):
    place = Place()
    while words := choices(road, place):
        place = after(road, place, choose(road, place, words))
    return place.worth


def test_it_keeps_every_contract():
    for renderer in ("micro", "english"):
        check_scenario(make_scenario("errand", renderer=renderer))
    check_env("errand")


def test_the_optimum_is_what_brute_force_finds_by_playing():
    for task in tasks(15):
        road = road_of(task)
        ways = product(*road.stops, (OPEN, SKIP), (OPEN, SKIP))
        paid = [played(way, task=task).episode().rewards[0].value for way in ways]
        assert max(paid) == best_worth(road) / MOST
        gold = SOURCE.gold(task)
        assert gold.facts == {"optimum": best_worth(road)}
        best = played(gold.answer.split(" "), task=task).episode()
        assert best.rewards[0].value == max(paid)
        assert best.grades[0].value == 1.0


def test_who_looks_no_turn_ahead_gets_clearly_less_in_every_case():
    for task in tasks(300):
        road = road_of(task)
        myopic = walked(road, lambda r, p, words: myopic_word(r, p))
        assert myopic <= 0.5 * best_worth(road)


def test_nothing_about_the_second_stop_need_be_known_at_the_first():
    """Taking what fits a gate and is not in the bag is best, whatever comes later."""

    def sighted(road, place, words):
        wanted = {OPENS[gate] for gate in road.gates} - set(place.bag)
        if place.turn < 2:
            return next((word for word in words if word in wanted), SNACK)
        return OPEN if OPENS[road.gates[place.turn - 2]] in place.bag else SKIP

    for task in tasks(300, seed=1):
        assert walked(road_of(task), sighted) == best_worth(road_of(task))


def test_chance_earns_something_often_and_the_optimum_seldom():
    rng = np.random.default_rng(2)
    shares = [
        walked(road_of(t), lambda r, p, words: words[rng.integers(len(words))])
        / best_worth(road_of(t))
        for t in tasks(400)
    ]
    assert np.mean(np.array(shares) > 0) > 0.6
    assert np.mean(np.array(shares) == 1) < 0.1


def test_pay_comes_with_the_last_turn_only():
    for case in range(5):
        game = Game(Errand(), EpisodeKey(case=case))
        paid = []
        while not game.over:
            paid.append(game.step([Reply(game.view("learner_0").menu[0])]).rewards)
        assert [len(rewards) for rewards in paid] == [0, 0, 0, 1]
        assert paid[-1][0].turn == 3


def test_a_word_that_is_no_choice_does_nothing():
    task = tasks(1)[0]
    silent = played(("", "open", "rope wall", "snack"), task=task).episode()
    assert silent.rewards[0].value == 0.0
    assert silent.ending.kind == "terminated"


def test_the_same_words_again_give_the_same_episode():
    words = optimum(road_of(Game(Errand(), EpisodeKey(run=3, case=7)).task))
    first, second = played(words, case=7).episode(), played(words, case=7).episode()
    assert to_json(first) == to_json(second)


def test_views_show_no_worth_and_nothing_of_the_next_stop():
    for case in range(40):
        game = played((), case=case)
        road = road_of(game.task)
        view = game.view("learner_0")
        assert view.menu == road.stops[0]
        seen = set(view.text.replace("<|", " <|").replace("|>", "|> ").split())
        unseen = set(road.stops[1]) - set(road.stops[0])
        assert not unseen & seen
        shown = " ".join(w.text for w in played(("x",) * 4, case=case).view_log)
        assert not any(digit in shown for digit in "0123456789")
        assert "errand" not in shown and "optimum" not in shown


def test_every_word_that_is_shown_is_one_of_the_microworld():
    for case in range(40):
        turns = [t for v in played(("x",) * 4, case=case).view_log for t in v.turns]
        shown = {w for t in turns if t.author != "learner_0" for w in t.text.split()}
        assert len(shown) > 4 and shown <= set(VOCABULARY)
    assert set(SOURCE.answers(tasks(1)[0])) <= set(VOCABULARY)


def test_the_english_instructions_name_the_worths_of_the_rules():
    game = Game(make_scenario("errand", renderer="english"), EpisodeKey())
    text = " ".join(game.view("learner_0").text.split())
    assert f"going round is worth {SMALL}, a gate that opens is worth {PRIZE}" in text
    assert f"a snack is worth {SMALL}" in text


def test_gold_says_what_share_of_the_best_each_turn_kept_in_reach():
    scenario = Errand()
    task = SOURCE.parse("wall near moon ; rope snack ladder ; snack torch key", "train")
    task = task or Task(
        "e", "errand", "wall near moon ; rope snack ladder ; snack torch key"
    )
    best = played(("ladder", "torch", "open", "open"), task=task).episode()
    assert [scenario.gold(best, turn) for turn in range(4)] == [1.0] * 4
    greedy = played(("snack", "torch", "skip", "skip"), task=task).episode()
    found = [scenario.gold(greedy, turn) for turn in range(4)]
    assert found == [10 / 16, 1.0, 1.0, 3 / 10]
    with pytest.raises(InvalidOption, match="no turn 4"):
        scenario.gold(greedy, 4)


def test_splits_do_not_share_roads_whatever_the_order_at_the_stops():
    found = {split: {plain(t) for t in tasks(150, split)} for split in SPLITS}
    for one, other in product(SPLITS, SPLITS):
        assert one == other or not found[one] & found[other]
    assert all(split_of_road(road_of(t)) == "test" for t in tasks(20, "test"))


def plain(task):
    road = road_of(task)
    return (road.gates, *(tuple(sorted(stop)) for stop in road.stops))


def test_a_road_is_read_back_and_nothing_else_is():
    for task in tasks(50):
        road = road_of(task)
        assert read_road(road.text) == road
        assert SOURCE.parse(task.prompt, "train") == task
        assert SOURCE.parse(task.prompt, "test") is None
        assert all(SOURCE.parse(text, "train") for text in SOURCE.menu(task))
    for text in (
        "",
        "wall near wall ; rope snack ladder ; snack torch key",
        "wall near moon ; rope snack key ; snack torch key",
        "wall near moon ; ladder snack torch ; snack torch key",
        "wall near moon ; rope snack ladder ; snack torch key ",
        "wall by moon ; rope snack ladder ; snack torch key",
    ):
        assert read_road(text) is None
    with pytest.raises(InvalidOption, match="no road"):
        road_of(Task("x", "errand", "somewhere"))


def test_rollouts_earn_what_their_words_are_worth():
    class First:
        def act(self, views):
            return [Reply(view.menu[0]) for view in views]

        @property
        def spec(self):
            return AgentSpec("first")

    episodes = Rollouts(Errand(), {"learner_0": First()}, run=1).run(30)
    assert len(episodes) == 30
    for episode in episodes:
        words = " ".join(u.text for u in episode.utterances)
        (graded,) = SOURCE.grade(episode.task, words)
        assert graded.value == episode.grades[0].value
        assert episode.rewards[0].value * MOST == pytest.approx(
            graded.value * best_worth(road_of(episode.task))
        )
