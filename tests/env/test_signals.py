"""Signals, questions and leases: append-only, chained, one lease at a time."""

import sqlite3
import threading
from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superalign_env.canonical import content_hash
from superalign_env.envs import make_scenario
from superalign_env.errors import InvalidOption, RecordError
from superalign_env.game import Game
from superalign_env.store import (
    EpisodeWriter,
    Run,
    digest,
    question_id,
    standing,
    validate,
)
from superalign_env.types import EpisodeKey, Question, Reply, Signal


def said(value=1.0, episode="e", **fields):
    return Signal("verdict", episode, 0, "critic_0", value, **fields)


def asked(n, priority=0.0, **fields):
    return Question(f"q{n}", "label", "e", n, priority=priority, **fields)


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def run(tmp_path):
    with Run.create(tmp_path / "run", kind="play", config={}, seed=0) as run:
        yield run


@pytest.fixture
def clock(run, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(run.questions, "_clock", clock)
    return clock


def test_signals_come_back_as_they_were_stored(run):
    payload = {"faults": [{"kind": "harm", "span": "ünïcode \x00 ok"}], "n": 1}
    stored = run.signals.append(
        [said(0, payload=payload), said(1, versus=3, confidence=0.5)]
    )
    assert [s.id for s in stored] == [1, 2]
    assert all(s.created > 0 for s in stored)
    assert run.signals.read() == list(stored)
    assert run.signals.last_id() == 2


def test_every_signal_carries_the_hash_of_the_one_before(run):
    first, second = run.signals.append([said(0), said(1)])
    (third,) = run.signals.append([said(0)])
    assert first.previous == ""
    assert len({first.previous, second.previous, third.previous}) == 3
    assert run.signals.first_broken() == 0


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_value_that_is_no_probability_is_refused_and_nothing_is_stored(run, value):
    with pytest.raises(ValueError, match="must lie in"):
        run.signals.append([said(0.5), said(value)])
    assert run.signals.last_id() == 0


@pytest.mark.parametrize(
    "statement", ["UPDATE signals SET value = 0", "DELETE FROM signals", "REPLACE INTO signals SELECT * FROM signals"]
)  # fmt: skip
def test_no_statement_changes_or_removes_a_signal(run, statement):
    stored = run.signals.append([said(1)])
    connection = run.database.connection
    connection.execute("PRAGMA recursive_triggers = ON")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)
    assert run.signals.read() == list(stored)


@pytest.mark.parametrize(
    "forgery",
    [
        "UPDATE signals SET value = 0.25 WHERE id = 2",
        "UPDATE signals SET source = 'human' WHERE id = 2",
        "DELETE FROM signals WHERE id = 2",
        "UPDATE signals SET payload = '{\"a\":1}' WHERE id = 2",
    ],
)
def test_tampering_behind_the_triggers_breaks_the_chain(run, forgery):
    run.signals.append([said(0), said(1), said(1)])
    assert validate(run) == []
    connection = run.database.connection
    connection.execute("DROP TRIGGER signals_are_never_changed")
    connection.execute("DROP TRIGGER signals_are_never_removed")
    connection.execute(forgery)
    assert run.signals.first_broken() == 3
    assert "signals" in {problem.kind for problem in validate(run)}


def test_a_stage_reads_the_signals_that_were_there_when_it_began(run):
    run.signals.append([said(0)])
    stage = run.stages.begin("conformity")
    run.signals.append([said(1)])
    assert stage.signals_to == 1
    assert [s.value for s in run.signals.read(upto=stage.signals_to)] == [0]
    assert [s.value for s in run.signals.read(since=stage.signals_to)] == [1]


def test_signals_can_be_chosen(run):
    run.signals.append([said(0), said(1, "f"), Signal("veto", "e", 1, "ann", 0.0)])
    assert [s.id for s in run.signals.read(episode="e")] == [1, 3]
    assert [s.id for s in run.signals.read(kind="veto")] == [3]
    assert [s.id for s in run.signals.read(source="critic_0", since=1)] == [2]
    assert [s.id for s in run.signals.of("e", upto=2)] == [1]


@pytest.fixture
def members(run):
    """Three members of a case, and one of the next case."""
    keys = [EpisodeKey(0, 0, 1, 4, member) for member in range(3)]
    games = [Game(make_scenario("echo"), key) for key in (*keys, EpisodeKey(0, 0, 1, 5))]
    for game in games:
        while not game.over:
            game.step([Reply(f"word {game.key.member}") for _ in game.views()])
    with EpisodeWriter(run) as writer:
        writer.write([game.episode() for game in games])
    return [game.episode_id for game in games]


def between(one, other, value=1.0, **fields):
    return Signal("preference", one, 0, "ann", value, 0, other, **fields)


def test_a_preference_between_members_is_about_both_and_comes_back_as_it_was(run, members):
    one, other, third, _ = members
    stored = run.signals.append([between(one, other), between(third, one, 0.0)])
    assert [s.versus_episode for s in run.signals.read()] == [other, one]
    assert run.signals.read(episode=other) == run.signals.of(other) == [stored[0]]
    assert run.signals.read(episode=one) == run.signals.of(one) == list(stored)
    assert msgspec.json.decode(msgspec.json.encode(stored[0]), type=Signal) == stored[0]
    assert validate(run) == []


def test_a_pair_is_of_two_recorded_members_of_one_case(run, members):
    one, other, _, elsewhere = members
    wrong = [(one, elsewhere), (one, one), (one, "nobody"), ("nobody", other)]
    for first, second in wrong:
        with pytest.raises(InvalidOption, match="two recorded members of one case"):
            run.signals.append([between(first, second)])
        pair = Question("q", "preference", first, 0, 0, second)
        with pytest.raises(InvalidOption, match="leave versus_episode out"):
            run.questions.ask([pair])
    with pytest.raises(InvalidOption, match="turn of each"):
        run.questions.ask([Question("q", "preference", one, 0, -1, other)])
    assert run.signals.last_id() == 0 and run.questions.all() == []


def test_which_member_is_compared_changes_name_chain_and_digest(run, members):
    one, other, third, _ = members
    names = {
        question_id("preference", one, 0, versus=0, versus_episode=name)
        for name in (None, other, third)
    }
    assert len(names) == 3
    chains = {
        content_hash(between(one, name, created=1.0)) for name in (None, other, third)
    }
    assert len(chains) == 3
    pair = Question("q", "preference", one, 0, 0, other)
    run.questions.ask([pair])
    run.questions.claim("ann")
    run.questions.answer("q", "ann", value=1.0)
    before = digest(run)
    connection = run.database.connection
    connection.execute("DROP TRIGGER signals_are_never_changed")
    for table in ("signals", "questions"):
        connection.execute(f"UPDATE {table} SET versus_episode = ?", (third,))
        after = digest(run)
        assert after[table] != before[table]
        assert after["run"] != before["run"]


def test_an_answer_names_both_members_and_can_be_taken_back(run, members):
    one, other, *_ = members
    pair = Question("q", "preference", one, 0, 0, other)
    assert run.questions.ask([pair]) == [pair] and run.questions.get("q") == pair
    assert run.questions.claim("ann") == pair
    said = run.questions.answer("q", "ann", value=0.0)
    assert (said.episode, said.versus, said.versus_episode) == (one, 0, other)
    assert run.questions.undo(said.id, "ann").versus_episode == other
    assert run.signals.of(other) == [] and run.questions.claim("ann") == pair


def test_the_most_urgent_question_comes_first_and_an_answer_closes_it(run):
    run.annotators.enroll("ann", group="strict")
    run.questions.ask([asked(1, 0.1), asked(2, 0.9)])
    question = run.questions.claim("ann")
    assert question == asked(2, 0.9)
    signal = run.questions.answer(question.id, "ann", value=1, payload={"note": "fine"})
    assert (signal.kind, signal.source, signal.value, signal.question) == (
        "label", "ann", 1.0, "q2",
    )  # fmt: skip
    assert signal.payload["group"] == "strict" and signal.payload["note"] == "fine"
    assert run.questions.all(answered=True) == [asked(2, 0.9)]
    assert run.questions.all(answered=False) == [asked(1, 0.1)]
    assert run.questions.claim("bob").id == "q1"
    assert run.questions.claim("cem") is None


def test_the_same_question_is_filed_once(run):
    assert run.questions.ask([asked(1), asked(1)]) == [asked(1)]
    assert run.questions.ask([asked(1), asked(2)]) == [asked(2)]
    assert question_id("label", "e", 1) == question_id("label", "e", 1)
    assert question_id("label", "e", 1) != question_id("label", "e", 1, copy=1)


def test_the_budget_is_never_exceeded_and_the_most_urgent_win(run):
    filed = run.questions.ask([asked(n, n / 10) for n in range(5)], budget=3)
    assert [q.id for q in filed] == ["q4", "q3", "q2"]
    assert run.questions.ask([asked(9, 1.0)], budget=3) == []
    assert [q.id for q in run.questions.ask([asked(9), asked(8)], budget=4)] == ["q9"]
    assert run.questions.budget().asked == 4


def test_what_was_asked_answered_skipped_and_leased_is_counted(run):
    run.questions.ask([asked(n, -n, round=n % 2) for n in range(4)])
    for _ in range(3):
        run.questions.claim("ann")
        run.questions.claim("bob")
        break
    run.questions.answer("q0", "ann", value=0)
    run.questions.skip("q1", "bob", why="unclear")
    run.questions.claim("ann")
    assert run.questions.budget() == (4, 1, 1, 1)
    assert run.questions.budget(round=0) == (2, 1, 0, 0)


def test_a_reloaded_page_shows_the_same_question(run):
    run.questions.ask([asked(1), asked(2, 1.0)])
    first = run.questions.claim("ann")
    run.questions.ask([asked(3, 5.0)])
    assert run.questions.claim("ann") == first


def test_a_lease_that_ran_out_frees_the_question_and_is_worth_nothing(run, clock):
    run.questions.ask([asked(1)])
    assert run.questions.claim("ann", seconds=60).id == "q1"
    assert run.questions.claim("bob") is None
    clock.now += 61
    assert run.questions.claim("bob").id == "q1"
    with pytest.raises(RecordError, match="claim again"):
        run.questions.answer("q1", "ann", value=1)
    assert run.questions.answer("q1", "bob", value=0).source == "bob"
    assert run.questions.expire() == 0
    with pytest.raises(RecordError, match="claim again"):
        run.questions.answer("q1", "bob", value=0)


def test_expired_leases_can_be_swept(run, clock):
    run.questions.ask([asked(1), asked(2)])
    run.questions.claim("ann", seconds=10)
    run.questions.claim("bob", seconds=100)
    clock.now += 50
    assert run.questions.expire() == 1
    assert run.questions.budget().leased == 1


def test_what_one_skipped_is_shown_to_others_only(run):
    run.questions.ask([asked(1)])
    run.questions.claim("ann")
    assert run.questions.skip("q1", "ann").kind == "skip"
    assert run.questions.claim("ann") is None
    assert run.questions.claim("bob").id == "q1"


def test_undo_adds_a_row_and_opens_the_question_again(run):
    run.questions.ask([asked(1)])
    run.questions.claim("ann")
    wrong = run.questions.answer("q1", "ann", value=0)
    run.questions.undo(wrong.id, "ann")
    assert run.signals.last_id() == 2
    assert run.signals.of("e") == []
    assert run.questions.claim("ann").id == "q1"
    right = run.questions.answer("q1", "ann", value=1)
    assert standing(run.signals.read()) == [right]
    assert run.signals.standing(kind="label") == [right]
    assert run.signals.standing(kind="label", upto=2) == []
    assert run.signals.standing(kind="label", upto=1) == [wrong]
    assert run.signals.standing(kind="skip") == []
    with pytest.raises(RecordError, match="can be undone"):
        run.questions.undo(right.id, "bob")
    with pytest.raises(RecordError, match="can be undone"):
        run.questions.undo(wrong.id + 1, "ann")


def test_a_skip_can_be_undone_too(run):
    run.questions.ask([asked(1)])
    run.questions.claim("ann")
    run.questions.undo(run.questions.skip("q1", "ann").id, "ann")
    assert run.questions.claim("ann").id == "q1"


def test_two_annotators_never_hold_one_lease(run, tmp_path):
    """Eight threads, half of them over connections of their own."""
    run.questions.ask([asked(n) for n in range(120)])
    given = Counter()
    beside = [Run.open(tmp_path / "run", beside=True) for _ in range(4)]
    barrier = threading.Barrier(8)
    errors = []

    def work(name, window):
        try:
            barrier.wait()
            while (question := window.questions.claim(name)) is not None:
                given[question.id] += 1
                window.questions.answer(question.id, name, value=1)
        except Exception as error:
            errors.append(error)

    threads = [
        threading.Thread(target=work, args=(f"ann{n}", window))
        for n, window in enumerate([run] * 4 + beside)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for window in beside:
        window.close()
    assert errors == []
    assert set(given.values()) == {1} and len(given) == 120
    assert run.questions.budget().answered == 120
    assert validate(run) == []


@settings(max_examples=20)  # every one writes a record
@given(st.lists(st.integers(1, 6), max_size=8))
def test_claiming_many_gives_every_question_once(tmp_path_factory, sizes):
    with Run.create(
        tmp_path_factory.mktemp("runs") / "run", kind="play", config={}, seed=0
    ) as run:
        run.questions.ask([asked(n) for n in range(10)])
        claimed = [
            question.id
            for n, size in enumerate(sizes)
            for question in run.questions.claim_many(f"ann{n}", size)
        ]
        assert len(claimed) == len(set(claimed)) == min(10, sum(sizes))


def test_only_the_hash_of_a_token_is_kept(run):
    run.annotators.enroll("ann", group="g", profile={"age": 40}, token="s3cret")
    run.annotators.enroll("bob")
    assert run.annotators.admits("ann", "s3cret")
    assert not run.annotators.admits("ann", "guess")
    assert not run.annotators.admits("bob", "")
    assert not run.annotators.admits("eve", "s3cret")
    assert run.annotators.get("ann").profile == {"age": 40}
    assert [one.id for one in run.annotators.all()] == ["ann", "bob"]
    kept = run.database.rows("SELECT * FROM annotators")
    assert "s3cret" not in str(kept)
