"""The schema of a record, and the number by which its format is known.

Every fact has one table or view (architecture, section 12). Empty texts mean "none";
columns that point at another table hold NULL for it, so that foreign keys can be checked.
"""

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import suppress

from superalign_env.canonical import from_json
from superalign_env.errors import RecordDamaged, RecordError, RecordOtherFormat
from superalign_env.store.database import Database

APPLICATION_ID = 0x53414C4E
"""``SALN``: tells a record from any other SQLite file."""

_TABLES = """
CREATE TABLE runs (
    id TEXT PRIMARY KEY, parent TEXT, kind TEXT NOT NULL, status TEXT NOT NULL,
    config TEXT NOT NULL, versions TEXT NOT NULL, revision TEXT NOT NULL, seed INTEGER NOT NULL,
    inherited TEXT NOT NULL);
CREATE TABLE stages (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, run TEXT NOT NULL REFERENCES runs(id), generation INTEGER NOT NULL,
    round INTEGER NOT NULL, name TEXT NOT NULL, status TEXT NOT NULL, inputs TEXT NOT NULL,
    outputs TEXT NOT NULL, rng TEXT NOT NULL, signals_to INTEGER NOT NULL,
    seconds REAL NOT NULL DEFAULT 0);
CREATE TABLE undo (
    id INTEGER PRIMARY KEY, stage TEXT NOT NULL, "table" TEXT NOT NULL, "key" TEXT NOT NULL,
    before TEXT);
CREATE INDEX undo_by_stage ON undo(stage);
CREATE TABLE agents (
    number INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE, spec TEXT NOT NULL, role TEXT NOT NULL DEFAULT '',
    generation INTEGER, side TEXT NOT NULL DEFAULT '', parent TEXT REFERENCES agents(hash),
    path TEXT NOT NULL DEFAULT '', accepted INTEGER);
CREATE TABLE cells (
    number INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE, experiment TEXT NOT NULL, params TEXT NOT NULL, seed INTEGER NOT NULL,
    revision TEXT NOT NULL, status TEXT NOT NULL, result TEXT NOT NULL, seconds REAL NOT NULL,
    cost TEXT NOT NULL, code TEXT NOT NULL, error TEXT NOT NULL);

CREATE TABLE seatings (
    hash TEXT NOT NULL, place INTEGER NOT NULL, seat TEXT NOT NULL, role TEXT NOT NULL,
    agent TEXT NOT NULL REFERENCES agents(hash), PRIMARY KEY (hash, place));
CREATE TABLE rules (hash TEXT PRIMARY KEY, rules TEXT NOT NULL);
CREATE TABLE episodes (
    id TEXT PRIMARY KEY, stage TEXT REFERENCES stages(id), hash TEXT NOT NULL,
    scenario TEXT NOT NULL, version TEXT NOT NULL, task TEXT NOT NULL, split TEXT NOT NULL, "case" INTEGER NOT NULL,
    member INTEGER NOT NULL, parent TEXT NOT NULL, seed INTEGER NOT NULL, arm TEXT NOT NULL,
    ending TEXT NOT NULL, seating TEXT NOT NULL, rules TEXT NOT NULL REFERENCES rules(hash),
    said TEXT NOT NULL, paid TEXT NOT NULL, graded TEXT NOT NULL, happened TEXT NOT NULL,
    judged TEXT NOT NULL, planted TEXT NOT NULL, queries TEXT NOT NULL,
    numbers BLOB NOT NULL, record TEXT NOT NULL);
CREATE INDEX episodes_in_order ON episodes(stage, "case", member, id);
CREATE VIEW seats AS
    SELECT e.id AS episode, s.seat, s.role, s.agent
    FROM episodes e JOIN seatings s ON s.hash = e.seating;
CREATE VIEW utterances AS
    SELECT e.id AS episode, json_extract(u.value, '$[0]') AS turn,
    json_extract(u.value, '$[1]') AS seat, json_extract(u.value, '$[2]') AS text,
    substr(e.numbers, json_extract(u.value, '$[4]') + 1, json_extract(u.value, '$[5]'))
        AS prompt_ids,
    substr(e.numbers, json_extract(u.value, '$[4]') + json_extract(u.value, '$[5]') + 1,
        json_extract(u.value, '$[6]')) AS token_ids,
    substr(e.numbers, json_extract(u.value, '$[4]') + json_extract(u.value, '$[5]')
        + json_extract(u.value, '$[6]') + 1, json_extract(u.value, '$[7]')) AS logprobs,
    json_extract(u.value, '$[3]') AS policy
    FROM episodes e, json_each(e.said) u;
CREATE VIEW rewards AS
    SELECT e.id AS episode, json_extract(r.value, '$[0]') AS turn,
    json_extract(r.value, '$[1]') AS seat, json_extract(r.value, '$[2]') AS part,
    json_extract(r.value, '$[3]') AS value
    FROM episodes e, json_each(e.paid) r;
CREATE VIEW grades AS
    SELECT e.id AS episode, json_extract(g.value, '$[0]') AS turn,
    json_extract(g.value, '$[1]') AS seat, json_extract(g.value, '$[2]') AS axis,
    json_extract(g.value, '$[3]') AS name, json_extract(g.value, '$[4]') AS value
    FROM episodes e, json_each(e.graded) g;
CREATE VIEW judged AS
    SELECT e.id AS episode, json_extract(j.value, '$.turn') AS turn,
    json_extract(j.value, '$.seat') AS seat, json_extract(j.value, '$.about') AS about,
    json_extract(j.value, '$.verdict.score') AS score,
    json_extract(j.value, '$.verdict') AS verdict, json_extract(j.value, '$.why') AS why
    FROM episodes e, json_each(e.judged) j;
CREATE VIEW planted AS
    SELECT e.id AS episode, json_extract(p.value, '$.about') AS about,
    json_extract(p.value, '$.seat') AS seat, json_extract(p.value, '$.good') AS good,
    json_extract(p.value, '$.kind') AS kind, json_extract(p.value, '$.answer') AS answer
    FROM episodes e, json_each(e.planted) p;
CREATE VIEW queries AS
    SELECT e.id AS episode, json_extract(q.value, '$.turn') AS turn,
    json_extract(q.value, '$.seat') AS seat, json_extract(q.value, '$.text') AS text,
    json_extract(q.value, '$.valid') AS valid
    FROM episodes e, json_each(e.queries) q;

CREATE TABLE notices (
    id INTEGER PRIMARY KEY, stage TEXT REFERENCES stages(id),
    episode TEXT REFERENCES episodes(id), turn INTEGER NOT NULL, seat TEXT NOT NULL,
    kind TEXT NOT NULL, evidence TEXT NOT NULL);
CREATE INDEX notices_by_episode ON notices(episode);
CREATE INDEX notices_by_kind ON notices(kind);
CREATE VIEW events AS
    SELECT id, stage, episode, turn, seat, kind, evidence FROM notices
    UNION ALL
    SELECT NULL, e.stage, e.id, json_extract(h.value, '$[0]'), json_extract(h.value, '$[1]'),
    json_extract(h.value, '$[2]'), json_extract(h.value, '$[3]')
    FROM episodes e, json_each(e.happened) h;
CREATE TABLE metrics (
    id INTEGER PRIMARY KEY, stage TEXT REFERENCES stages(id), agent TEXT NOT NULL,
    opponent TEXT NOT NULL, name TEXT NOT NULL, tags TEXT NOT NULL, value REAL NOT NULL,
    low REAL, high REAL, n INTEGER NOT NULL, step INTEGER NOT NULL);
CREATE INDEX metrics_by_name ON metrics(name);
CREATE TABLE metric_kinds (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, title TEXT NOT NULL, unit TEXT NOT NULL, better TEXT NOT NULL,
    chart TEXT NOT NULL);
CREATE TABLE hazards (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, event INTEGER REFERENCES notices(id),
    prompt TEXT NOT NULL, safe TEXT NOT NULL, generation INTEGER NOT NULL, status TEXT NOT NULL);

CREATE TABLE signals (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, episode TEXT NOT NULL, turn INTEGER NOT NULL,
    versus INTEGER NOT NULL, versus_episode TEXT, source TEXT NOT NULL, value REAL NOT NULL,
    confidence REAL NOT NULL, payload TEXT NOT NULL, question TEXT NOT NULL,
    previous TEXT NOT NULL, created REAL NOT NULL);
CREATE INDEX signals_by_episode ON signals(episode);
CREATE INDEX signals_by_versus_episode ON signals(versus_episode)
    WHERE versus_episode IS NOT NULL;
CREATE INDEX signals_by_question ON signals(question);
CREATE TRIGGER signals_are_never_changed BEFORE UPDATE ON signals
    BEGIN SELECT RAISE(ABORT, 'signals are append-only: add a row instead'); END;
CREATE TRIGGER signals_are_never_removed BEFORE DELETE ON signals
    BEGIN SELECT RAISE(ABORT, 'signals are append-only: add a row instead'); END;
CREATE TABLE questions (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, episode TEXT NOT NULL, turn INTEGER NOT NULL,
    versus INTEGER NOT NULL, versus_episode TEXT, slice TEXT NOT NULL, priority REAL NOT NULL,
    why TEXT NOT NULL, round INTEGER NOT NULL);
CREATE TABLE leases (
    question TEXT PRIMARY KEY REFERENCES questions(id), annotator TEXT NOT NULL,
    expires REAL NOT NULL);
CREATE TABLE annotators (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, token_hash TEXT NOT NULL, "group" TEXT NOT NULL, profile TEXT NOT NULL);

CREATE TABLE files (path TEXT PRIMARY KEY, hash TEXT NOT NULL);
CREATE TABLE row_hashes (
    stage TEXT NOT NULL, "table" TEXT NOT NULL, "key" TEXT NOT NULL, hash TEXT NOT NULL,
    sealed INTEGER NOT NULL, PRIMARY KEY (stage, "table", "key")) WITHOUT ROWID;
CREATE TABLE superseded (
    "table" TEXT NOT NULL, "key" TEXT NOT NULL, hash TEXT NOT NULL,
    PRIMARY KEY ("table", "key"));
CREATE TABLE seals (
    id INTEGER PRIMARY KEY, stage TEXT NOT NULL, contents TEXT NOT NULL,
    previous TEXT NOT NULL, hash TEXT NOT NULL);
"""


FORMAT = zlib.crc32(" ".join(_TABLES.split()).encode()) & 0x7FFFFFFF
"""Follows from the tables: no change of them can be forgotten here."""


def create(connection: sqlite3.Connection) -> None:
    """Make all tables, views and triggers; call it within a transaction."""
    # Not executescript, which commits first: a kill could leave tables without a run.
    for statement in _statements(_TABLES):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {FORMAT}")


def is_created(database: Database) -> bool:
    """Return whether a database holds a record; False when it is empty.

    Raises:
        RecordDamaged: it is another program's database.
        RecordOtherFormat: its tables are those of another version of this package.
    """
    if not database.value("SELECT count(*) FROM sqlite_master"):
        return False
    if database.value("PRAGMA application_id") != APPLICATION_ID:
        raise RecordDamaged(f"{database.path} is a database, but no record of a run")
    if database.value("PRAGMA user_version") != FORMAT:
        folder, made_by = database.path.parent, _made_by(database)
        raise RecordOtherFormat(
            f"{folder} has another record format than this version of superalign-env reads; "
            f"read it with the version that wrote it{made_by}"
        )
    return True


def _made_by(database: Database) -> str:
    """Return which version wrote a record, as far as its tables tell."""
    with suppress(RecordError, ValueError, TypeError):
        versions, revision = database.row("SELECT versions, revision FROM runs") or ("", "")
        number = from_json(versions, dict[str, str]).get("superalign-env", "unknown")
        return f" (superalign-env {number}, revision {revision})"
    return ""


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):  # a trigger holds semicolons of its own
            yield statement
            statement = ""
