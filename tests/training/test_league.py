"""Ratings, sampling and the matrix: pure functions, checked by what they promise."""

import ast
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from superalign_agents.scripted import Fixed
from superalign_env.envs import make_scenario
from superalign_env.errors import InvalidOption, UnknownId
from superalign_env.types import Metric, View
from superalign_training import selfplay
from superalign_training.selfplay.opponents.games import MatchSettings, cells
from superalign_training.selfplay.opponents.matrix import (
    TRUE,
    WON,
    MatchResult,
    heat_map,
    matrix_of,
    missing,
    rate,
)
from superalign_training.selfplay.opponents.pool import PastOpponents
from superalign_training.selfplay.opponents.settings import (
    LeagueSettings,
    Pairing,
    WinRate,
    shares,
)

NAMES = ["a", "b", "c"]
MET = Pairing("attacker", "learner")


# --- sampling


def test_latest_meets_the_newest_alone_and_uniform_everybody_alike():
    assert shares("latest", NAMES) == {"c": 1.0}
    assert shares("uniform", NAMES) == pytest.approx(dict.fromkeys(NAMES, 1 / 3))


def test_prioritised_follows_the_published_formula():
    """(1 − P[current beats it])², smoothed by one win and one loss."""
    beaten = {"a": WinRate(0.25, 62), "b": WinRate(0.75, 62)}
    weights = {"a": (16.5 / 64) ** 2, "b": (47.5 / 64) ** 2, "c": 0.5**2}
    total = sum(weights.values())
    expected = {name: weight / total for name, weight in weights.items()}
    assert shares("prioritised", NAMES, beaten=beaten) == pytest.approx(expected)


def test_prioritised_without_an_exponent_is_uniform_and_with_a_large_one_the_hardest():
    beaten = {"a": WinRate(0.1, 100), "b": WinRate(0.9, 100), "c": WinRate(0.5, 100)}
    flat = shares("prioritised", NAMES, beaten=beaten, power=0)
    assert flat == pytest.approx(shares("uniform", NAMES))
    assert shares("prioritised", NAMES, beaten=beaten, power=40)["b"] > 0.99


def test_nobody_who_always_lost_is_never_met_again():
    beaten = dict.fromkeys(NAMES, WinRate(0.0, 64))
    assert min(shares("prioritised", NAMES, beaten=beaten).values()) == pytest.approx(1 / 3)


def test_only_the_most_met_are_loaded_and_newer_ones_first():
    assert list(shares("uniform", NAMES, max_opponents=2)) == ["b", "c"]
    beaten = {"a": WinRate(1.0, 9), "b": WinRate(0.0, 9), "c": WinRate(0.0, 9)}
    kept = shares("prioritised", NAMES, beaten=beaten, max_opponents=2)
    assert list(kept) == ["a", "c"]
    assert sum(kept.values()) == pytest.approx(1.0)


def test_an_empty_league_and_an_unknown_rule_are_explained():
    with pytest.raises(InvalidOption, match="league is empty"):
        shares("uniform", [])
    with pytest.raises(UnknownId, match="did you mean prioritised"):
        shares("prioritized", NAMES)
    with pytest.raises(InvalidOption, match="power"):
        shares("prioritised", NAMES, power=-1)
    with pytest.raises(ValueError, match="did you mean uniform"):
        LeagueSettings(sampling="unifrom")


# --- ratings


def test_ratings_order_players_by_strength_and_know_how_sure_they_are():
    """Wins are drawn from known strengths; more games narrow the belief."""
    rng = random.Random(3)
    strength = {f"p{i}": i for i in range(5)}

    def contests(n):
        return [
            MatchResult(a, b, sum(rng.random() < chance(a, b) for _ in range(n)) / n, n)
            for a in strength
            for b in strength
            if a < b
        ]

    def chance(a, b):
        return 1 / (1 + 2.718 ** (strength[b] - strength[a]))

    few, many = rate(contests(5)), rate(contests(80))
    assert sorted(strength, key=lambda name: many[name].mu) == list(strength)
    assert all(many[name].sigma < few[name].sigma < 25 / 3 for name in strength)
    assert many["p0"].games == 320
    low = many["p0"].estimate
    assert low.low < low.value < low.high < many["p4"].estimate.value


def test_ratings_do_not_depend_on_the_order_of_the_contests():
    contests = [
        MatchResult("a", "b", 0.3, 10),
        MatchResult("c", "b", 0.9, 7),
        MatchResult("a", "d", 1, 5),
    ]
    found = rate(contests)
    assert rate(contests[::-1]) == found
    assert rate(contests) == found


def test_even_contests_leave_both_sides_equal():
    found = rate([MatchResult("a", "b", 0.5, 40)])
    assert abs(found["a"].mu - found["b"].mu) < found["a"].sigma
    assert rate([]) == {}


@pytest.mark.parametrize(
    "contest",
    [
        MatchResult("a", "b", 1.2, 5),
        MatchResult("a", "a", 0.5, 5),
        MatchResult("a", "b", 0, -1),
    ],
)
def test_contests_that_make_no_sense_are_refused(contest):
    with pytest.raises(InvalidOption, match="no contest"):
        rate([contest])


# --- the matrix


def cell(attacker, learner, value, name=WON):
    met = MET._asdict()
    return Metric(name, value, n=8, agent=attacker, opponent=learner, tags=met)


def test_newcomers_add_their_row_and_column_and_nothing_else():
    known = {("a0", "l0"), ("a1", "l0"), ("a0", "l1"), ("a1", "l1")}
    found = missing(["a0", "a1", "a2"], ["l0", "l1", "l2"], known)
    assert set(found) == {
        ("a2", "l0"),
        ("a2", "l1"),
        ("a2", "l2"),
        ("a0", "l2"),
        ("a1", "l2"),
    }


def test_what_critics_say_and_what_is_true_are_two_matrices():
    metrics = [cell("a", "l", 0.9), cell("a", "l", 0.1, TRUE), cell("x", "l", 0.3)]
    judged = matrix_of(metrics, MET, ["a"], ["l", "k"])
    true = matrix_of(metrics, MET, ["a"], ["l", "k"], name=TRUE)
    assert (judged.value("a", "l"), true.value("a", "l")) == (0.9, 0.1)
    assert judged.value("a", "k") is None
    assert judged.table() == [
        ["attacker", "learner 0", "learner 1"],
        ["attacker 0", "0.90", ""],
    ]


def test_the_matrix_says_who_beats_whom_from_both_sides():
    metrics = [cell("a", "l", 0.75), cell("b", "l", 0.25)]
    matrix = matrix_of(metrics, MET, ["a", "b"], ["l", "k"])
    assert matrix.win_rates("attacker", "l") == {
        "a": WinRate(0.75, 8),
        "b": WinRate(0.25, 8),
    }
    assert matrix.win_rates("learner", "a") == {"l": WinRate(0.25, 8)}
    assert matrix.win_rates("attacker", "k") == {}
    assert matrix.contests() == [
        MatchResult("attacker/a", "learner/l", 0.75, 8),
        MatchResult("attacker/b", "learner/l", 0.25, 8),
    ]


def test_the_picture_is_the_same_bytes_for_the_same_matrix():
    matrix = matrix_of([cell("a", "l", 0.75)], MET, ["a", "b"], ["l", "k"])
    drawn = heat_map(matrix)
    assert drawn == heat_map(matrix)
    assert "0.75" in drawn
    assert drawn.lstrip().startswith("<?xml")
    with pytest.raises(ValueError, match="cannot be drawn"):
        heat_map(matrix_of([], MET, [], []))


# --- opponents


def view(case):
    return View("e", case, "attacker_0", "attacker", 0, case * 7, "text")


def test_the_league_plays_its_share_of_the_cases_by_their_number_alone():
    league = PastOpponents(
        {"old": Fixed("old"), "older": Fixed("older")}, {"old": 0.75, "older": 0.25}
    )
    mixture = league.joined(
        {"search": Fixed("search"), "new": Fixed("new")},
        share=0.5,
        shares={"search": 1, "new": 3},
        seed=4,
    )
    said = [reply.text for reply in mixture.act([view(case) for case in range(4000)])]
    counts = Counter(said)
    assert counts["old"] == pytest.approx(1500, abs=150)
    assert counts["older"] == pytest.approx(500, abs=100)
    assert counts["new"] == pytest.approx(1500, abs=150)
    # Members of a group have one case number, and hence one opponent.
    assert said == [mixture.chosen(case) for case in range(4000)]


def test_without_a_share_the_league_is_never_met():
    league = PastOpponents({"old": Fixed("old")}, {"old": 1.0})
    mixture = league.joined({"new": Fixed("new")}, share=0.0)
    assert {r.text for r in mixture.act([view(case) for case in range(100)])} == {"new"}
    alone = league.joined({}, share=1.0)
    assert alone.chosen(3) == "old"
    with pytest.raises(InvalidOption):
        league.joined({"new": Fixed("new")}, share=1.5)
    with pytest.raises(InvalidOption):
        league.joined({"new": Fixed("new")}, share=0.5, shares={"other": 1})


# --- cells


class Asks(Fixed):
    """Asks whatever the menu offers first and remembers it."""

    def __init__(self):
        super().__init__("")
        self.asked = []

    def act(self, views):
        from superalign_env.types import Reply  # noqa: PLC0415 - used here alone

        self.asked.append([view.menu[view.seed % len(view.menu)] for view in views])
        return [Reply(text, finish="stop") for text in self.asked[-1]]


class Hangs(Fixed):
    def act(self, views):
        time.sleep(60)


def test_who_hangs_in_a_cell_is_given_up_after_the_timeout_of_the_run():
    fixture = MatchSettings(
        make_scenario("red-team", vanilla=0.0, split="train"),
        MET,
        {"critic": Fixed("score 0 sure 9")},
        seed=5,
        cases=2,
        timeout=0.05,
    )
    played = fixture.play(Asks(), Hangs("comply"))
    assert ["within 0.05 s" in episode.ending.reason for episode in played] == [True] * 2


def test_every_rollout_of_a_stage_takes_the_timeout_of_the_run():
    """Whoever forgets it gives a hanging agent the ten minutes of the default."""
    folder = Path(selfplay.__file__).parent
    found = 0
    for path in sorted(folder.rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(getattr(call, "func", None), "id", "")
            if name in ("Rollouts", "ask"):
                found += 1
                given = {keyword.arg for keyword in call.keywords}
                assert "timeout" in given, f"{path.name}:{call.lineno}"
    assert found >= 6


def test_every_learner_of_a_row_is_asked_the_same_queries():
    scenario = make_scenario("red-team", vanilla=0.0, split="train")
    fixture = MatchSettings(
        scenario, MET, {"critic": Fixed("score 0 sure 9")}, seed=5, cases=12
    )
    attacker = Asks()
    learners = {"yes": Fixed("comply"), "no": Fixed("refuse")}
    found = list(
        cells(
            [("a", "yes"), ("a", "no")],
            fixture,
            seated=lambda name: learners.get(name, attacker),
            measures={WON: lambda episode: True, TRUE: lambda episode: False},
            tags={"split": "train"},
            step=3,
        )
    )
    assert attacker.asked[0] == attacker.asked[1]
    assert len(attacker.asked[0]) == 12
    assert [(m.name, m.agent, m.opponent, m.value, m.n, m.step) for m in found] == [
        (WON, "a", "yes", 1.0, 12, 3),
        (TRUE, "a", "yes", 0.0, 12, 3),
        (WON, "a", "no", 1.0, 12, 3),
        (TRUE, "a", "no", 0.0, 12, 3),
    ]
