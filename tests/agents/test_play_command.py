"""`superalign play`, as a shell sees it: order, people, failures, Ctrl-C."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from superalign_agents.play_commands import printed
from superalign_agents.references import read_pairs, seat_references
from superalign_env.envs import make_scenario
from superalign_env.errors import UnknownId
from superalign_env.game import Game
from superalign_env.store import Run
from superalign_env.types import EpisodeKey, Reply

ROOT = Path(__file__).resolve().parents[2]
ROOTS = [ROOT, *(ROOT / part for part in ("agents", "scenarios", "training"))]
COMMAND = [sys.executable, "-c", "from superalign_env.cli import main; main()", "play"]
HEAD = re.compile(r"^g0-r0-c(\d+)-\S+", re.MULTILINE)


def episode(case):
    game = Game(make_scenario("echo"), EpisodeKey(0, case=case))
    while not game.over:
        game.step([Reply("so") for _ in game.views()])
    return game.episode()


def test_episodes_are_printed_in_order_of_cases_while_they_end(capsys):
    seen = []

    def ending():
        for case in (4, 3, 6, 5):
            yield episode(case)
            seen.append(HEAD.findall(capsys.readouterr().out))

    assert printed(ending(), first=3) == (4, 0)
    assert seen == [[], ["3", "4"], [], ["5", "6"]]


def test_an_interrupt_prints_what_waited_for_an_earlier_case(capsys):
    def ending():
        yield episode(2)
        yield episode(0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        printed(ending(), first=0)
    assert HEAD.findall(capsys.readouterr().out) == ["0", "2"]


EXAM = ("exam", "-s", "learner_0=human")


def test_a_person_plays_one_episode_to_its_end_before_the_next(superalign):
    said = superalign("play", *EXAM, "--episodes", "2", typed="one\ntwo\n")
    first, second = said.index("g0-r0-c0-m0"), said.index("g0-r0-c1-m0")
    assert first < said.index("/quit leaves", first) < second  # asked again only then
    assert said.index("0 learner_0 one") < second < said.index("0 learner_0 two")


def test_seats_are_named_by_role_and_the_others_follow_what_is_declared():
    rules = make_scenario("red-team", critics=2)
    seated = seat_references(rules, {"critic": "random-menu", "critic_1": "fixed"})
    assert seated == {
        "attacker_0": "search",
        "learner_0": "micro/3",
        "critic_0": "random-menu",
        "critic_1": "fixed",
    }
    assert seat_references(rules, {"learner": "fixed"}, seated) == {
        **seated,
        "learner_0": "fixed",
    }
    assert seat_references(make_scenario("red-team"), {})["critic_0"] == "keyword"
    assert set(seat_references(make_scenario("echo"), {}).values()) == {"random-menu"}
    with pytest.raises(UnknownId, match="did you mean critic"):
        seat_references(rules, {"critc": "fixed"})


def test_ctrl_c_before_a_verb_begins_is_one_line(superalign, monkeypatch):
    def pressed():
        raise KeyboardInterrupt

    monkeypatch.setattr("superalign_env.cli.build", pressed)
    said = superalign("play", code=130)
    assert said == "\nstopped before anything was begun\n"


def test_an_episode_that_failed_ends_with_1_and_the_others_are_played(superalign, tmp_path):
    words = ("play", *EXAM, "--episodes", "3", "--run", tmp_path / "run")
    said = superalign(*words, typed="one\n/quit\nthree\n", code=1)
    assert "1 of 3 episodes failed" in said and "the person left" in said
    with Run.open(tmp_path / "run", readonly=True) as run:
        assert (run.count(ending="failed"), run.count(ending="terminated")) == (1, 2)
        assert run.info.status == "done"


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for a child alone")
def test_ctrl_c_keeps_what_has_ended(tmp_path):
    process = subprocess.Popen(
        [*COMMAND, *EXAM, "--episodes", "2", "--run", tmp_path / "run"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, ROOTS))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdin.write("one\n")
    process.stdin.flush()
    said = ""
    while "/quit" not in said.partition("terminated")[2]:  # asked for the second one
        said += process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate()
    assert process.returncode == 130 and "Traceback" not in errors, rest + errors
    assert "recorded in" in rest
    with Run.open(tmp_path / "run", readonly=True) as run:
        assert (run.count(), run.info.status) == (1, "interrupted")


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("{id: fixed, text: comply}", {"id": "fixed", "text": "comply"}),
        ('{"id": "fixed", "text": "a: b"}', {"id": "fixed", "text": "a: b"}),
        ('{"rate":1e-3}', {"rate": 0.001}),
        ('{"t":"\\ud83d\\ude00"}', {"t": "😀"}),
        ("[1, 2]", [1, 2]),
        ("1", 1),
        ("micro/3", "micro/3"),
        ("{id: fixed, text", "{id: fixed, text"),
    ],
)
def test_values_are_read_as_in_settings(value, read):
    assert read_pairs([f"key={value}"]) == {"key": read}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-s", "learner_0"], "'learner_0' is no SEAT=AGENT; .*learner=micro/3"),
        (["-o", "refine"], "'refine' is no KEY=VALUE; .*refine=1"),
        (["learner=micro/3"], "no scenario; .*-s learner=micro/3"),
    ],
)
@pytest.mark.parametrize("verb", ["play", "evaluate"])
def test_what_is_no_pair_is_shown_as_one(superalign, verb, words, said):
    assert re.search(said, superalign(verb, *words, code=2))
