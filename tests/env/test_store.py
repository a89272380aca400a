"""The record of a run: what goes in comes out, and damage has a name."""

import os
import sqlite3
import subprocess
import sys
from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from superalign_env.canonical import content_hash, to_json
from superalign_env.errors import (
    InvalidOption,
    RecordDamaged,
    RecordError,
    RecordFull,
    RecordLocked,
)
from superalign_env.store import EpisodeWriter, Run, validate
from superalign_env.store.database import Database
from superalign_env.store.run_folder import DATABASE
from superalign_env.types import (
    AgentSpec,
    Ending,
    Episode,
    EpisodeKey,
    Event,
    Fault,
    Grade,
    Judged,
    Planted,
    Query,
    Reply,
    Reward,
    Task,
    ToolCall,
    Usage,
    Utterance,
    Verdict,
)

TEXT = st.text(max_size=30)  # no surrogates: those are no text
NAME = st.text(min_size=1, max_size=12)
ID = st.integers(-(2**31), 2**31 - 1)
# SQLite knows no negative zero.
NUMBER = st.floats(allow_nan=False, allow_infinity=False).map(lambda x: x + 0.0)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
OPTIONS = st.dictionaries(TEXT, PLAIN, max_size=3)
SPEC = st.builds(AgentSpec, NAME, OPTIONS, TEXT)
REPLY = st.builds(
    Reply,
    TEXT,
    TEXT,
    st.lists(st.builds(ToolCall, NAME, OPTIONS, TEXT), max_size=2).map(tuple),
    st.lists(ID, max_size=6).map(tuple),
    st.lists(ID, max_size=6).map(tuple),
    st.lists(NUMBER, max_size=6).map(tuple),
    st.sampled_from(["stop", "length", "error", ""]),
    st.none() | st.builds(Usage, st.integers(0, 9), st.integers(0, 9), NUMBER),
    TEXT,
    TEXT,
    st.dictionaries(NAME, st.integers(0, 9), max_size=2),
)
FAULTS = st.lists(st.builds(Fault, TEXT, TEXT, NUMBER), max_size=2).map(tuple)
VERDICT = st.none() | st.builds(Verdict, NUMBER, NUMBER, FAULTS, TEXT)


@st.composite
def episodes(draw, name="e"):
    seats = draw(st.dictionaries(NAME, SPEC, min_size=1, max_size=3))
    seat = st.sampled_from(sorted(seats))
    said = tuple(
        Utterance(
            draw(seat), turn, draw(st.integers(0, 4)), draw(TEXT), draw(st.none() | REPLY),
            draw(TEXT), draw(TEXT),
        )
        for turn in range(draw(st.integers(0, 4)))
    )  # fmt: skip
    turns = st.integers(-1, 5)
    many = {"max_size": 4}
    return Episode(
        name,
        draw(st.sampled_from(["red-team-v0", "toy", "a-v1-v2", "-v1", "x-v٣"])),
        draw(
            st.builds(
                Task, NAME, NAME, TEXT, st.integers(1, 9), choices=st.just(("a", "b"))
            )
        ),
        draw(
            st.builds(
                EpisodeKey,
                st.integers(-(2**63), 2**64 - 1),
                *[st.integers(0, 2**40)] * 4,
            )
        ),
        seats,
        said,
        tuple(draw(st.lists(st.builds(Reward, seat, TEXT, NUMBER, turns), **many))),
        draw(
            st.builds(Ending, st.sampled_from(["terminated", "truncated", "failed"]), TEXT)
        ),
        draw(OPTIONS),
        draw(TEXT),
        draw(TEXT),
        tuple(draw(st.lists(st.builds(Grade, seat, TEXT, TEXT, NUMBER, turns), **many))),
        tuple(draw(st.lists(st.builds(Event, NAME, seat, turns, OPTIONS), **many))),
        tuple(draw(st.lists(st.builds(Judged, seat, turns, VERDICT, turns, TEXT), **many))),
        tuple(
            draw(
                st.lists(st.builds(Planted, seat, st.booleans(), TEXT, TEXT, turns), **many)
            )
        ),
        tuple(draw(st.lists(st.builds(Query, seat, TEXT, st.booleans(), turns), **many))),
        draw(TEXT),
        draw(TEXT),
        draw(st.dictionaries(NAME, st.dictionaries(NAME, NUMBER, max_size=2), max_size=2)),
        draw(st.integers(1, 3)),
        draw(st.sampled_from(["", *seats])),
    )


def small(case=0, **fields):
    said = (Utterance("learner_0", 0, 0, "no", Reply("no", token_ids=(1, 2))),)
    known = {
        "id": f"e{case}",
        "scenario": "toy-v0",
        "task": Task(f"t{case}", "requests", "do it"),
        "key": EpisodeKey(1, case=case),
        "seats": {"learner_0": AgentSpec("fixed")},
        "utterances": said,
        "rewards": (Reward("learner_0", "truth", 1.0, 0),),
        "ending": Ending.terminated(),
        "grades": (Grade("learner_0", "safety", "ok", 1.0, 0),),
    }
    return Episode(**(known | fields))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def run(folder):
    with Run.create(folder, kind="play", config={"scenario": "toy"}, seed=7) as run:
        yield run


def store(run, *episodes, **options):
    with EpisodeWriter(run, **options) as writer:
        writer.write(episodes)


def test_an_episode_comes_back_exactly_as_it_was_written(run):
    number = count()
    with EpisodeWriter(run) as writer:

        @settings(max_examples=100)
        @given(played=episodes())
        def check(played):
            episode = replace(played, id=f"{played.id}{next(number)}")
            writer.write([episode])
            writer.flush()
            back = run.episode(episode.id)
            assert back == episode
            assert to_json(back) == to_json(episode)

        check()
    assert run.count() >= 100
    assert validate(run) == []


def test_no_field_of_an_episode_is_forgotten():
    """A new field needs a place in `serialization`, and in `episodes` above."""
    given = ["schema_version", "fork_at"]
    assert Episode.__struct_fields__[-2:] == tuple(given)
    assert len(Episode.__struct_fields__) == 21
    assert len(Utterance.__struct_fields__) == 7
    assert len(Reply.__struct_fields__) == 11


def test_whole_numbers_where_floats_belong_make_no_difference(run):
    loose = small(
        rewards=(Reward("learner_0", "truth", 1, 0), Reward("learner_0", "x", -0.0, 0))
    )
    store(run, loose)
    assert run.episode("e0") == loose
    assert validate(run) == []


def test_numbers_of_numpy_are_recorded_as_the_numbers_that_they_are(run):
    third, ids = np.float64(1) / 3, np.arange(3, dtype=np.int64)
    reply = Reply("no", token_ids=tuple(ids), logprobs=tuple(np.float32([-0.5, -0.25, 0])))
    episode = small(
        rewards=(Reward("learner_0", "truth", third, 0), Reward("s_0", "null", 1.0, 0)),
        grades=(Grade("learner_0", "safety", "ok", np.float32(0.5), 0),),
        utterances=(Utterance("learner_0", 0, 0, "no", reply),),
    )
    store(run, episode)
    assert run.episode("e0") == episode
    assert [r.value for _, r in run.rewards()] == [1 / 3, 1.0]
    assert validate(run) == []


def test_what_episodes_share_is_stored_once_and_goes_with_the_last_of_them(run):
    def shared():
        tables = ("seatings", "rules", "agents")
        return [run.database.value(f"SELECT count(*) FROM {table}") for table in tables]

    first, second = (run.stages.begin("play").id for _ in range(2))
    other = {"seats": {"learner_0": AgentSpec("other")}, "renderer": "plain"}
    store(run, small(0), small(1), stage=first)
    store(run, small(2), small(3, **other), stage=second)
    assert shared() == [2, 2, 2]
    run.stages.discard(second)
    assert shared() == [1, 1, 1]
    assert list(run.episodes()) == [small(0), small(1)]
    assert validate(run) == []
    store(run, small(3, **other), stage=first)
    assert run.episode("e3") == small(3, **other)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        Usage(2, 1),
        Usage(2, 1, 0.5),
        Usage(2, 1, -0.0),
        Usage(7, 1),
        Usage(2, 0),
        Usage(),
    ],
)
def test_usage_comes_back_exactly_whether_or_not_it_is_just_the_tokens(run, usage):
    first, *others = small().utterances
    reply = Reply(first.text, prompt_ids=(3, 4), token_ids=(5,), usage=usage)
    episode = replace(small(), utterances=(replace(first, reply=reply), *others))
    store(run, episode)
    assert to_json(run.episode("e0")) == to_json(episode)


def test_columns_of_an_episode_are_seen_as_tables(run):
    learner = Reply("no", prompt_ids=(5, -6), token_ids=(7,), logprobs=(-0.1, -2.5e-300))
    said = (
        Utterance("learner_0", 0, 0, "no", learner),
        Utterance("critic_0", 1, 1, "ünï", Reply("x", token_ids=(8, 9), policy="w")),
        Utterance("critic_0", 2, 1, "", None),
    )
    seats = {"learner_0": AgentSpec("fixed"), "critic_0": AgentSpec("other")}
    pay = (Reward("learner_0", "truth", 1.0, 0), Reward("critic_0", "null", -0.5, 2))
    episode = small(utterances=said, seats=seats, rewards=pay)
    store(run, small(1), episode, small(2))

    def seen(table):
        rows = run.database.connection.execute(
            f"SELECT * FROM {table} WHERE episode = ?", ("e0",)
        )
        assert rows.description[0][0] == "episode"
        return [row[1:] for row in rows]

    assert seen("seats") == [
        (seat, seat.partition("_")[0], content_hash(spec)) for seat, spec in seats.items()
    ]
    assert seen("rewards") == [(r.turn, r.seat, r.part, r.value) for r in pay]
    assert seen("grades") == [
        (g.turn, g.seat, g.axis, g.name, g.value) for g in episode.grades
    ]
    numbers = [
        (u.reply.prompt_ids, u.reply.token_ids, u.reply.logprobs) if u.reply else None
        for u in said
    ]
    for (*plain, prompt, token, logprob, policy), u, found in zip(
        seen("utterances"), said, numbers, strict=True
    ):
        assert plain == [u.turn, u.seat, u.text]
        assert policy == (u.reply.policy if u.reply else "")
        blobs = zip((prompt, token, logprob), ("<i4", "<i4", "<f8"), strict=True)
        if found is None:
            assert prompt is token is logprob is None
        else:
            assert tuple(tuple(np.frombuffer(b, kind)) for b, kind in blobs) == found


def test_an_episode_with_late_events_stays_itself(run):
    episode = small(events=(Event("text.repaired", "learner_0", 0),))
    store(run, episode)
    run.events.add(Event("canary.hit"), episode="e0")
    assert run.episode("e0") == episode
    assert [e.event.kind for e in run.events.read(episode="e0")] == ["canary.hit"]
    assert run.events.kinds() == {"canary.hit": 1, "text.repaired": 1}
    assert validate(run) == []


FACTS = {
    "judged": (
        Judged("critic_0", 1, Verdict(0.25, 0.5, (Fault("harm", "x"),), "no"), 2),
        Judged("critic_1", 1, None, 3, "expected a verdict"),
    ),
    "planted": (Planted("learner_0", True, "refuse"),),
    "queries": (Query("attacker_0", "bad \x00 \U0001f600", False, 0),),
}


def test_facts_come_back_exactly_and_are_seen_as_rows(run):
    episode = small(**FACTS)
    store(run, episode)
    assert run.episode("e0") == episode and validate(run) == []
    rows = run.database.rows
    assert rows("SELECT turn, seat, about, score, why FROM judged") == [
        (2, "critic_0", 1, 0.25, ""),
        (3, "critic_1", 1, None, "expected a verdict"),
    ]
    assert rows("SELECT * FROM planted") == [("e0", -1, "learner_0", 1, "", "refuse")]
    assert rows("SELECT turn, seat, valid FROM queries") == [(0, "attacker_0", 0)]


def test_events_are_seen_as_rows_whether_they_happened_or_were_noticed(run):
    stage = run.stages.begin("play").id
    evidence = {"z": None, "a": [0.1, 1e300, "null", {"ü": "\x00\U0001f600"}]}
    happened = Event("text.repaired", "learner_0", 0, evidence), Event('a."b"', turn=-1)
    store(run, small(events=happened), stage=stage)
    number = run.events.add(Event("canary.hit"), stage=stage, episode="e0")
    view = run.database.connection.execute("SELECT * FROM events ORDER BY id IS NOT NULL")
    assert [column[0] for column in view.description] == [
        "id", "stage", "episode", "turn", "seat", "kind", "evidence",
    ]  # fmt: skip
    assert view.fetchall() == [
        *[
            (None, stage, "e0", e.turn, e.seat, e.kind, to_json(e.evidence).decode())
            for e in happened
        ],
        (number, stage, "e0", -1, "", "canary.hit", "{}"),
    ]
    assert run.database.value("SELECT count(*) FROM notices") == 1
    assert run.events.count("text.repaired") == run.events.count('a."b"') == 1


@pytest.mark.parametrize(
    "change",
    [
        "episodes SET happened = json_set(happened, '$[0][2]', 'other')",
        "episodes SET happened = json_set(happened, '$[0][3].k', 1)",
        "episodes SET happened = '[]'",
        "episodes SET happened = happened || ' '",
        "episodes SET happened = x'00'",
        "episodes SET judged = '[]'",
        "episodes SET judged = json_set(judged, '$[0].verdict.score', 0.5)",
        "episodes SET planted = json_set(planted, '$[0].good', json('false'))",
        "episodes SET queries = json_set(queries, '$[0].valid', json('true'))",
        "episodes SET said = '[]'",
        "episodes SET said = json_set(said, '$[0][2]', 'comply')",
        "episodes SET said = json_set(said, '$[0][4]', 99)",
        "episodes SET paid = json_set(paid, '$[0][3]', 9e999)",
        "episodes SET paid = json_set(paid, '$[0][3]', 2.0)",
        "episodes SET graded = json_set(graded, '$[0][3]', 'x')",
        "episodes SET numbers = 'words'",
        "episodes SET numbers = x''",
        "episodes SET split = 'gate'",
        """episodes SET "case" = "case" + 1""",
        "episodes SET record = '{}'",
        "episodes SET record = json_set(record, '$.task.prompt', 'x')",
        "episodes SET hash = ''",
        "episodes SET seating = 'x'",
        "seatings SET role = 'x'",
        "seatings SET seat = 'x'",
        "seatings SET agent = 'x'",
        "rules SET rules = '{}'",
    ],
)
def test_an_episode_cannot_be_altered_unseen(run, change):
    event = Event("text.repaired", "learner_0", 0)
    store(run, small(events=(event,), renderer="plain", **FACTS))
    run.database.write(f"UPDATE {change}", [()])
    found = {problem.kind for problem in validate(run)}
    assert found - {"reference"} == {"episode"}


def test_events_that_cannot_be_read_are_said(run):
    store(run, small(events=(Event("text.repaired", "learner_0", 0),)))
    run.database.write("UPDATE episodes SET happened = 'words'", [()])
    assert run.events.read() == [], "it looks at notices alone"
    with pytest.raises(RecordDamaged, match="superalign validate"):
        run.events.kinds()


@pytest.mark.parametrize(
    "bad", [float("nan"), float("inf"), [{"x": -float("inf")}], "\ud800"]
)
def test_events_that_cannot_be_recorded_are_refused(run, bad):
    event = Event("text.repaired", "learner_0", 0, {"null": None, "value": bad})
    with pytest.raises(RecordError, match="cannot be recorded"):
        store(run, small(events=(event,)))
    assert run.count() == 0


def test_a_run_says_what_it_was_made_of(run, folder):
    info = run.info
    assert (info.kind, info.config, info.seed, info.status) == (
        "play", {"scenario": "toy"}, 7, "running",
    )  # fmt: skip
    assert info.versions["python"] and info.revision
    run.set_status("done")
    assert run.info.status == "done"
    assert (folder / "config.yaml").read_text() == "scenario: toy\n"


def test_a_second_worker_is_refused_and_told_the_pid(run, folder):
    with pytest.raises(RecordLocked, match="already works"):
        Run.open(folder)
    code = (
        "import sys; from superalign_env.store import Run\n"
        "from superalign_env.errors import RecordLocked\n"
        "try: Run.open(sys.argv[1])\n"
        "except RecordLocked as e: print(e)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, folder], capture_output=True, text=True, check=True
    )
    assert f"pid {os.getpid()}" in done.stdout


def test_the_lock_of_a_dead_process_is_free(folder):
    code = (
        "import os, sys; from superalign_env.store import Run\n"
        "Run.create(sys.argv[1], kind='play', config={}, seed=0); os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, folder], check=False).returncode == 9
    with Run.open(folder) as run:
        run.set_status("interrupted")


def test_readers_and_annotators_work_beside_the_worker(run, folder):
    store(run, small())
    with Run.open(folder, readonly=True) as reader:
        assert reader.count() == 1
        with pytest.raises(RecordError, match="read-only"):
            reader.set_status("done")
    with Run.open(folder, beside=True) as annotator:
        annotator.annotators.enroll("ann")
        with pytest.raises(RecordError, match="not opened for work"):
            EpisodeWriter(annotator)


def test_a_read_only_folder_can_be_read(run, folder):
    store(run, small())
    run.close()
    folder.chmod(0o500)
    (folder / DATABASE).chmod(0o400)
    try:
        with Run.open(folder, readonly=True) as reader:
            assert reader.episode("e0") == small()
    finally:
        folder.chmod(0o700)


def test_a_folder_that_holds_a_run_is_not_overwritten(run, folder):
    run.close()
    with pytest.raises(RecordError, match="--resume"):
        Run.create(folder, kind="play", config={}, seed=0)
    with Run.open(folder) as again:
        assert again.info.seed == 7


def test_a_missing_run_names_the_nearest(run, tmp_path):
    with pytest.raises(RecordError, match=r"did you mean .*run"):
        Run.open(tmp_path / "rnu", readonly=True)
    with pytest.raises(RecordError, match=f"runs in {tmp_path}: run"):
        Run.open(tmp_path, readonly=True)
    assert not (tmp_path / "rnu").exists()


def test_an_unfinished_creation_can_be_repeated(folder):
    folder.mkdir()
    (folder / DATABASE).touch()
    with pytest.raises(RecordError, match="never begun"):
        Run.open(folder)
    with Run.create(folder, kind="play", config={}, seed=0) as run:
        assert run.count() == 0


def test_a_file_that_is_no_database_is_called_damaged(run, folder):
    run.close()
    (folder / DATABASE).write_bytes(b"this was a record once" * 100)
    with pytest.raises(RecordDamaged, match="restore a copy"):
        Run.open(folder)


def test_another_database_is_not_taken_for_a_record(folder):
    folder.mkdir()
    with sqlite3.connect(folder / DATABASE) as foreign:
        foreign.execute("CREATE TABLE tables (legs)")
    foreign.close()
    with pytest.raises(RecordDamaged, match="no record of a run"):
        Run.open(folder)


def test_a_torn_file_is_called_damaged(run, folder):
    store(run, *(small(case) for case in range(200)))
    run.close()
    raw = (folder / DATABASE).read_bytes()
    (folder / DATABASE).write_bytes(raw[:8192] + b"\xff" * (len(raw) - 8192))
    with pytest.raises(RecordDamaged), Run.open(folder, readonly=True) as run:
        list(run.episodes())


def full_after(pages, monkeypatch):
    """Give every writer a disk of so many more pages."""

    def bounded(path, **options):
        database = Database(path, **options)
        (used,) = database.row("PRAGMA page_count")
        database.connection.execute(f"PRAGMA max_page_count = {used + pages}")
        return database

    monkeypatch.setattr("superalign_env.store.writer.Database", bounded)


def test_a_full_disk_is_said_and_what_was_written_stays(run, monkeypatch):
    store(run, small(0))
    full_after(20, monkeypatch)
    writer = EpisodeWriter(run)
    writer.write([small(1)])
    writer.flush()
    heavy = [small(case, arm="x" * 3000) for case in range(2, 200)]
    writer.write(heavy)
    with pytest.raises(RecordFull, match="what was written before is kept"):
        writer.flush()
    assert run.episode_ids() == ["e0", "e1"]
    writer._batches._database.connection.execute("PRAGMA max_page_count = 1000000")
    writer.close()
    assert run.count() == 200
    assert validate(run) == []


def test_episodes_can_be_chosen(run):
    first = run.stages.begin("self-play", round=1).id
    second = run.stages.begin("evaluate", round=2, generation=1).id
    store(run, small(10), small(9), stage=first)
    other = AgentSpec("other")
    store(
        run,
        small(1, scenario="toy-v1", seats={"critic_0": other}),
        small(2, ending=Ending.failed("lost"), task=Task("t", "f", "p", split="test")),
        stage=second,
    )
    assert run.episode_ids() == ["e9", "e10", "e1", "e2"]
    assert run.episode_ids(stage=first) == ["e9", "e10"]
    assert run.episode_ids(round=2) == ["e1", "e2"] == run.episode_ids(generation=1)
    assert run.episode_ids(scenario="toy-v1") == ["e1"]
    assert run.episode_ids(scenario="toy", round=1) == ["e9", "e10"]
    assert run.episode_ids(seat="critic_0") == ["e1"]
    assert run.episode_ids(agent=run.agents.all()[1].hash) == ["e1"]
    assert run.episode_ids(split="test", ending="failed", case=2) == ["e2"]
    assert run.count(split="train") == 3
    assert [e.id for e in run.episodes(stage=second)] == ["e1", "e2"]
    with pytest.raises(InvalidOption, match="colour"):
        run.episode_ids(colour="red")


def test_rows_can_be_read_without_episodes(run):
    logprobs = (-0.1, -2.5e-300)
    said = Utterance(
        "learner_0", 0, 0, "no", Reply("no", prompt_ids=(5,), logprobs=logprobs)
    )
    critic = Utterance("critic_0", 1, 1, "score 9", None)
    store(run, small(utterances=(said, critic)))
    rows = list(run.utterances())
    assert [(row.seat, row.text, row.prompt_ids, row.logprobs) for row in rows] == [
        ("learner_0", "no", (5,), logprobs),
        ("critic_0", "score 9", (), ()),
    ]
    assert list(run.rewards(seat="learner_0")) == [("e0", small().rewards[0])]
    assert list(run.grades()) == [("e0", small().grades[0])]


def test_the_first_episodes_come_before_the_last_are_read(run):
    store(run, *(small(case) for case in range(600)))
    seen = run.episodes()
    assert next(seen) == small(0)
    assert sum(1 for _ in seen) == 599


def test_an_unknown_episode_is_an_error_that_says_so(run):
    with pytest.raises(RecordError, match="no episode 'nope'"):
        run.episode("nope")
    store(run, small())
    with pytest.raises(RecordError, match="no episode 'nope'"):
        run.named(["e0", "nope"])


def test_episodes_are_read_in_the_order_of_their_names(run):
    store(run, *(small(case) for case in range(300)))
    names = [f"e{case}" for case in (299, 3, 0, 3)]
    assert run.named(names) == [small(299), small(3), small(0), small(3)]
    assert run.named([]) == []


def test_the_database_opens_as_plain_sqlite_with_readable_columns(run, folder):
    store(run, small())
    run.close()
    plain = sqlite3.connect(folder / DATABASE)
    assert plain.execute(
        'SELECT scenario, version, task, split, "case", ending FROM episodes'
    ).fetchall() == [("toy", "v0", "t0", "train", 0, "terminated")]
    plain.close()
