"""Elo from games against tasks: planted strengths come back, with honest intervals."""

import pytest

from superalign_env.errors import InvalidOption
from superalign_env.measures import Games, fit_elo, win_probability
from superalign_env.seeding import generator

PLAYERS = {"weak": 800.0, "middle": 1000.0, "strong": 1300.0}
TASKS = {"easy": 700.0, "fair": 950.0, "hard": 1350.0}


def played(n=4000, seed=0):
    rng = generator(seed)
    return [
        Games(player, task, int(rng.binomial(n, win_probability(e, d))), n)
        for player, e in PLAYERS.items()
        for task, d in TASKS.items()
    ]


def test_four_hundred_points_are_ten_to_one():
    assert win_probability(1400, 1000) == pytest.approx(10 / 11)
    assert win_probability(1000, 1000) == 0.5


def test_planted_strengths_come_back():
    found = fit_elo(played())
    for name, value in PLAYERS.items():
        assert found.players[name].value == pytest.approx(value, abs=20)
    for name, value in TASKS.items():
        assert found.tasks[name].value == pytest.approx(value, abs=20)
    assert sum(t.value for t in found.tasks.values()) / 3 == pytest.approx(1000)
    assert found.expected("strong", "hard") == pytest.approx(
        win_probability(1300, 1350), abs=0.02
    )


def test_two_players_on_one_task_differ_by_the_odds_of_their_shares():
    # 10/11 against 1/2: odds of ten, so 400 points; the belief hardly moves it.
    games = [Games("a", "t", 1000, 1100), Games("b", "t", 550, 1100)]
    assert fit_elo(games).gap("a", "b").value == pytest.approx(400, abs=2)
    assert fit_elo(games).gap("b", "a").value == pytest.approx(-400, abs=2)


def test_intervals_of_a_gap_hold_the_truth_as_often_as_they_say():
    held = 0
    for seed in range(200):
        gap = fit_elo(played(n=40, seed=seed)).gap("strong", "weak")
        held += gap.low <= 500 <= gap.high
    assert 180 <= held <= 199


def test_a_gap_knows_that_both_met_the_same_tasks():
    found = fit_elo(played(n=40))
    strong, weak = found.players["strong"], found.players["weak"]
    gap = found.gap("strong", "weak")
    apart = ((strong.high - strong.low) ** 2 + (weak.high - weak.low) ** 2) ** 0.5
    assert gap.high - gap.low != pytest.approx(apart, rel=0.01)
    assert found.gap("weak", "weak") == (0.0, 0.0, 0.0, 120)


def test_who_solves_everything_stays_finite_and_first():
    games = [
        Games("all", "t", 50, 50),
        Games("half", "t", 25, 50),
        Games("none", "t", 0, 50),
    ]
    found = fit_elo(games).players
    assert found["none"].value < found["half"].value < found["all"].value < 4000
    assert found["all"].high - found["all"].low > found["half"].high - found["half"].low


def test_the_order_of_games_changes_nothing_and_halves_add_up():
    games = played(n=30)
    assert fit_elo(reversed(games)).players == fit_elo(games).players
    halves = [Games(g.player, g.task, g.won / 2, g.n // 2) for g in games for _ in "ab"]
    assert fit_elo(halves).gap("strong", "weak").value == pytest.approx(
        fit_elo(games).gap("strong", "weak").value
    )


def test_games_that_make_no_sense_are_refused():
    with pytest.raises(InvalidOption, match="no games"):
        fit_elo([])
    with pytest.raises(InvalidOption, match="cannot win 3"):
        fit_elo([Games("a", "t", 3, 2)])
    with pytest.raises(InvalidOption, match="spread"):
        fit_elo(played(n=2), spread=0)
