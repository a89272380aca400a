"""The replay agent says exactly what was recorded, or says what is missing."""

import pytest

import superalign_env
from superalign_agents.keyword import KeywordCritic
from superalign_agents.scripted import RandomMenu, ReplayAgent
from superalign_agents.search import Search
from superalign_env.canonical import to_json
from superalign_env.errors import InvalidOption, RecordDamaged
from superalign_env.recording import episode_id
from superalign_env.rollout import Rollouts
from superalign_env.types import (
    Ending,
    Episode,
    EpisodeKey,
    Reply,
    Task,
    Utterance,
    View,
)


def episode(*texts, **key):
    key = EpisodeKey(**key)
    said = tuple(
        Utterance(
            seat, turn, turn, text, Reply(text, token_ids=(turn, 7), logprobs=(-0.5, -1.0))
        )
        for turn, (seat, text) in enumerate(
            zip(["attacker_0", "learner_0"], texts, strict=True)
        )
    )
    return Episode(
        episode_id(key), "x-v0", Task("t", "f", "p"), key, {}, said, (), Ending.terminated()
    )


def view(seat, turn, **key):
    key = EpisodeKey(**key)
    role = seat.rpartition("_")[0]
    return View(episode_id(key), key.case, seat, role, turn, 1, "text")


def test_every_recorded_reply_comes_back_whole():
    record = episode("query", "answer", case=3)
    agent = ReplayAgent(record)
    asked, replied = record.utterances
    assert agent.act([view("attacker_0", 0, case=3)]) == [asked.reply]
    assert agent.act([view("learner_0", 0, case=3)]) == [replied.reply]


def test_an_utterance_without_a_reply_is_played_as_its_text():
    record = episode("q", "a")
    bare = (Utterance("attacker_0", 0, 0, "q"),)
    record = Episode(
        record.id, "x-v0", record.task, record.key, {}, bare, (), Ending.terminated()
    )
    assert ReplayAgent(record).act([view("attacker_0", 0)]) == [Reply("q")]


def test_members_of_one_case_are_told_apart_also_in_a_new_run():
    agent = ReplayAgent([episode(f"q{m}", "b", case=1, member=m, run=5) for m in range(3)])
    views = [view("attacker_0", 0, case=1, member=m, run=99) for m in range(3)]
    assert [reply.text for reply in agent.act(views)] == ["q0", "q1", "q2"]


def test_rounds_are_told_apart_by_the_episodes_id():
    agent = ReplayAgent([episode(f"q{r}", "b", case=1, round=r) for r in range(2)])
    views = [view("attacker_0", 0, case=1, round=r) for r in range(2)]
    assert [reply.text for reply in agent.act(views)] == ["q0", "q1"]
    unknown = agent.act([view("attacker_0", 0, case=1, round=7)])[0]
    assert "several different replies" in unknown.error
    same = agent.act([view("learner_0", 0, case=1, round=7)])[0]
    assert same.text == "b"


def test_what_is_not_on_record_is_named_in_the_error():
    agent = ReplayAgent(episode("q", "a", case=3))
    late, elsewhere = agent.act(
        [view("learner_0", 5, case=3), view("learner_0", 0, case=4)]
    )
    assert "learner_0 at its turn 5 of case 3" in late.error and "[0]" in late.error
    assert "case 4" in elsewhere.error and "nothing" in elsewhere.error


def test_a_file_of_canonical_lines_is_read(tmp_path):
    path = tmp_path / "episodes.jsonl"
    records = [episode("a\u2028b", "c", case=n) for n in range(2)]
    path.write_bytes(b"\n".join(to_json(record) for record in records) + b"\n")
    agent = ReplayAgent(path=str(path))
    assert agent.act([view("attacker_0", 0, case=1)])[0].text == "a\u2028b"
    assert agent.spec.options == {"path": str(path)}


def test_a_broken_line_is_named(tmp_path):
    path = tmp_path / "episodes.jsonl"
    path.write_bytes(to_json(episode("a", "b")) + b"\n{}\n")
    with pytest.raises(RecordDamaged, match="line 2"):
        ReplayAgent(path=str(path))


def test_nothing_to_replay_is_refused(tmp_path):
    with pytest.raises(InvalidOption, match="episodes"):
        ReplayAgent()
    with pytest.raises(InvalidOption, match="cannot read"):
        ReplayAgent(path=str(tmp_path / "none.jsonl"))


def test_a_recorded_game_is_played_again_word_by_word():
    scenario = superalign_env.make_scenario("red-team", refine=1)
    players = {
        "attacker_0": Search(),
        "learner_0": RandomMenu(),
        "critic_0": KeywordCritic(),
    }
    first = Rollouts(scenario, players).run(20)
    again = Rollouts(scenario, dict.fromkeys(players, ReplayAgent(first))).run(20)
    assert [e.utterances for e in again] == [e.utterances for e in first]
    assert [e.rewards for e in again] == [e.rewards for e in first]
    elsewhere = Rollouts(
        scenario, dict.fromkeys(players, ReplayAgent(first)), first_case=20
    ).run(1)
    assert (
        elsewhere[0].ending.kind == "failed" and "on record" in elsewhere[0].ending.reason
    )
