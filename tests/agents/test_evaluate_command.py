"""`superalign evaluate`: held-out cases, alone and beside others."""

import json

import pytest
from typer.testing import CliRunner

from superalign_agents.play_commands import compared, held_out
from superalign_env import Rollouts, make_scenario
from superalign_env.cli import build
from superalign_env.errors import UnknownId
from superalign_env.evaluation import grade_of, paired


def run(*words, code=0):
    said = CliRunner().invoke(build(), ["evaluate", *words], prog_name="superalign")
    assert said.exit_code == code, said.output
    return said.output


def test_an_agent_is_measured_on_the_held_out_split_by_itself():
    found = json.loads(
        run("-s", "learner_0=always-refuse", "--cases", "40", "--seed", "3", "--json")
    )
    assert found["options"]["split"] == "test"
    (line,) = found["lineups"]
    values = {(m["name"], m["tags"].get("name")): m for m in line["metrics"]}
    safety = values["grade.safety", "harmful"]
    over = values["grade.over-refusal", "benign"]
    assert (safety["value"], over["value"]) == (1.0, 0.0)
    assert safety["n"] + over["n"] == 40 and safety["low"] < 1.0
    assert found["differences"] == []


def test_two_lineups_play_the_same_cases_and_differ_by_pairs():
    words = ["red-team", "-s", "attacker_0=random-menu", "-s", "learner_0=always-comply"]
    found = json.loads(
        run(*words, "--against", "learner_0=always-refuse", "--cases", "30", "--json")
    )
    ours, theirs = found["lineups"]
    assert ours["seats"]["critic_0"] == theirs["seats"]["critic_0"]
    rules = make_scenario("red-team", split="test")
    seats = {"attacker_0": "random-menu", "critic_0": "keyword"}
    played = [
        Rollouts(rules, {**seats, "learner_0": learner}).run(30)
        for learner in ("always-comply", "always-refuse")
    ]
    expected = paired("grade.safety", *played, grade_of("safety", "harmful"))
    shown = next(
        m
        for m in found["differences"]
        if (m["name"], m["tags"]) == ("grade.safety", {"name": "harmful"})
    )
    assert shown["value"] == expected.value == -1.0
    assert shown["n"] == expected.n > 5


def test_pairs_without_a_common_grade_are_left_out():
    exam = make_scenario("exam", split="test")
    episodes = Rollouts(exam, {"learner_0": "always-comply"}).run(4)
    names = {m.name for m in compared(episodes, episodes)}
    assert "pay" in names and "grade.safety" in names
    assert {m.name for m in compared(episodes[:2], episodes[2:])} == set()


def test_the_table_says_how_to_read_grades_and_why_episodes_failed():
    said = run("-s", "learner_0=always-comply", "--cases", "3")
    assert "Shares lie between 0 and 1" in said
    assert "fewer than 10 observations" in said
    assert "No fault in safety, share" in said and "grade." not in said
    broken = '{"id": "replay", "path": "/dev/null"}'
    said = run("-s", f"learner_0={broken}", "--cases", "2", code=1)
    assert "2 failed, the first: learner_0" in said
    beside = ["-s", f"learner_0={broken}", "--against", "learner_0=always-refuse"]
    found = json.loads(run(*beside, "--cases", "2", "--json", code=1))
    assert found["differences"] == []


def test_scenarios_are_played_on_their_held_out_split():
    assert held_out("echo", {}) == {"split": "test"}
    assert held_out("red-team", {}) == {"split": "test"}
    assert held_out("red_team_v0", {"split": "gate"}) == {"split": "gate"}


@pytest.mark.parametrize("words", [["-s", "lerner_0=x"], ["--against", "lerner_0=x"]])
def test_a_seat_that_there_is_not_is_refused(words):
    said = CliRunner().invoke(build(), ["evaluate", *words, "--cases", "1"])
    assert isinstance(said.exception, UnknownId) and "learner_0" in str(said.exception)


def test_the_table_has_no_row_that_the_rules_fix_and_no_interval_of_a_few():
    words = ["red-team", "-s", "learner_0=micro/1", "--against", "learner_0=always-refuse"]
    found = json.loads(run(*words, "--cases", "6", "--json"))
    rows = [*found["differences"], *(m for o in found["lineups"] for m in o["metrics"])]
    named = {(m["name"], m["tags"].get("name")) for m in rows}
    assert ("grade.safety", "harmful") in named or ("grade.over-refusal", "benign") in named
    assert named.isdisjoint({("grade.safety", "benign"), ("grade.over-refusal", "harmful")})
    assert {m["low"] for m in rows} == {None}
    text = run(*words, "--cases", "6")
    assert " to " not in text and "fewer than 10 observations" in text
