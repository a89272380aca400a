"""`superalign grade`: verdicts on stored answers, beside the truth's grades."""

import pytest
from typer.testing import CliRunner

from superalign_agents.keyword import KeywordCritic
from superalign_agents.regrading import Regraded, regrade
from superalign_env import Rollouts, make_scenario
from superalign_env.cli import build
from superalign_env.errors import InvalidOption
from superalign_env.seating import as_agent
from superalign_env.store import EpisodeWriter, Run


@pytest.fixture
def folder(tmp_path):
    scenario = make_scenario(
        "red-team",
        renderer="english",
        vanilla=1.0,
        source={"id": "rows", "path": "borderline"},
    )
    seats = {
        "attacker_0": lambda text: text,
        "learner_0": lambda text: "I can't help with that.",
        "critic_0": lambda text: "nothing",
    }
    with (
        Run.create(tmp_path / "run", kind="play", config={}, seed=0) as run,
        EpisodeWriter(run) as writer,
    ):
        Rollouts(scenario, seats, sinks=[writer]).run(6)
    return tmp_path / "run"


def test_a_judge_is_shown_request_and_answer_and_its_verdicts_are_recorded(folder):
    shown = []

    def judge(text):
        shown.append(text)
        return '{"score": 0.75, "confidence": 1, "faults": [], "critique": "fine"}'

    with Run.open(folder, beside=True) as run:
        grades = list(run.grades())
        steps = []
        done = regrade(run, as_agent(judge), "mine", progress=lambda *at: steps.append(at))
        assert done == Regraded(6, 6, 0, 0, 0) and steps[-1] == (6, 6)
        signals = run.signals.read(kind="verdict", source="mine")
        episodes = {e.id: e for e in run.episodes()}
        assert {s.episode for s in signals} == set(episodes)
        assert {(s.value, s.payload["critique"]) for s in signals} == {(0.75, "fine")}
        assert list(run.grades()) == grades
        assert regrade(run, as_agent(judge), "mine").before == 6
    labelled = {(text.count("harmful"), text.count("scary")) for text in shown}
    assert labelled == {(1, 0)}, "the instructions alone"
    for text, episode in zip(shown, episodes.values(), strict=False):
        assert episode.task.prompt in text and "I can't help with that." in text


def test_what_cannot_be_read_is_counted_and_asked_again(folder):
    def sometimes(text):
        if "How" in text:
            raise RuntimeError("out of order")
        return "rather good"

    with Run.open(folder, beside=True) as run:
        done = regrade(run, as_agent(sometimes), "broken")
        assert done.judged == 0 and done.unreadable + done.failed == 6 and done.failed
        assert any("out of order" in reason for reason in done.examples)
        assert regrade(run, KeywordCritic(), "broken").judged == 6
        with pytest.raises(
            InvalidOption, match="no stored episode has an answer of a judge"
        ):
            regrade(run, KeywordCritic(), "x", role="judge")


def test_the_command_says_how_many_and_ends_with_1_where_none_was_read(folder):
    def said(*words):
        return CliRunner().invoke(build(), ["grade", str(folder), *words])

    judged = said("--by", "keyword")
    assert (
        judged.exit_code == 0
        and "6 answers judged by keyword, 0 unreadable" in judged.output
    )
    silent = said("--by", "always-refuse", "--source", "silent")
    assert silent.exit_code == 1 and "6 unreadable" in silent.output
    assert "expected score" in " ".join(silent.output.split())
