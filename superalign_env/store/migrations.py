"""The schema of a record, as ordered steps. A released step is never edited.

Every fact has one table or view (architecture, section 12). Empty texts mean "none";
columns that point at another table hold NULL for it, so that foreign keys can be checked.
"""

from typing import TYPE_CHECKING

from superalign_env.errors import RecordDamaged, RecordTooNew
from superalign_env.store.database import Database
from superalign_env.store.gathering import gather

if TYPE_CHECKING:
    import sqlite_utils

APPLICATION_ID = 0x53414C4E
"""``SALN``: tells a record from any other SQLite file."""

_FIRST = """
CREATE TABLE runs (
    id TEXT PRIMARY KEY, parent TEXT, kind TEXT NOT NULL, status TEXT NOT NULL,
    config TEXT NOT NULL, versions TEXT NOT NULL, revision TEXT NOT NULL, seed INTEGER NOT NULL);
CREATE TABLE stages (
    id TEXT PRIMARY KEY, run TEXT NOT NULL REFERENCES runs(id), generation INTEGER NOT NULL,
    round INTEGER NOT NULL, name TEXT NOT NULL, status TEXT NOT NULL, inputs TEXT NOT NULL,
    outputs TEXT NOT NULL, rng TEXT NOT NULL, signals_to INTEGER NOT NULL);
CREATE TABLE agents (
    hash TEXT PRIMARY KEY, spec TEXT NOT NULL, role TEXT NOT NULL DEFAULT '',
    generation INTEGER, side TEXT NOT NULL DEFAULT '', parent TEXT REFERENCES agents(hash),
    path TEXT NOT NULL DEFAULT '', accepted INTEGER);
CREATE TABLE cells (
    hash TEXT PRIMARY KEY, experiment TEXT NOT NULL, params TEXT NOT NULL, seed INTEGER NOT NULL,
    revision TEXT NOT NULL, status TEXT NOT NULL, result TEXT NOT NULL);
CREATE TABLE episodes (
    id TEXT PRIMARY KEY, stage TEXT REFERENCES stages(id), scenario TEXT NOT NULL,
    version TEXT NOT NULL, task TEXT NOT NULL, split TEXT NOT NULL, "case" INTEGER NOT NULL,
    member INTEGER NOT NULL, parent TEXT NOT NULL, seed INTEGER NOT NULL, arm TEXT NOT NULL,
    ending TEXT NOT NULL, record TEXT NOT NULL);
CREATE INDEX episodes_in_order ON episodes(stage, "case", member, id);
CREATE TABLE seats (
    episode TEXT NOT NULL REFERENCES episodes(id), seat TEXT NOT NULL, role TEXT NOT NULL,
    agent TEXT NOT NULL REFERENCES agents(hash));
CREATE INDEX seats_by_episode ON seats(episode);
CREATE TABLE utterances (
    episode TEXT NOT NULL REFERENCES episodes(id), turn INTEGER NOT NULL, seat TEXT NOT NULL,
    text TEXT NOT NULL, prompt_ids BLOB, token_ids BLOB, logprobs BLOB, policy TEXT NOT NULL);
CREATE INDEX utterances_by_episode ON utterances(episode);
CREATE TABLE rewards (
    episode TEXT NOT NULL REFERENCES episodes(id), turn INTEGER NOT NULL, seat TEXT NOT NULL,
    part TEXT NOT NULL, value REAL NOT NULL);
CREATE INDEX rewards_by_episode ON rewards(episode);
CREATE TABLE grades (
    episode TEXT NOT NULL REFERENCES episodes(id), turn INTEGER NOT NULL, seat TEXT NOT NULL,
    axis TEXT NOT NULL, name TEXT NOT NULL, value REAL NOT NULL);
CREATE INDEX grades_by_episode ON grades(episode);
CREATE TABLE events (
    id INTEGER PRIMARY KEY, stage TEXT REFERENCES stages(id),
    episode TEXT REFERENCES episodes(id), turn INTEGER NOT NULL, seat TEXT NOT NULL,
    kind TEXT NOT NULL, evidence TEXT NOT NULL);
CREATE INDEX events_by_episode ON events(episode);
CREATE INDEX events_by_kind ON events(kind);
CREATE TABLE metrics (
    id INTEGER PRIMARY KEY, stage TEXT REFERENCES stages(id), agent TEXT NOT NULL,
    opponent TEXT NOT NULL, name TEXT NOT NULL, tags TEXT NOT NULL, value REAL NOT NULL,
    low REAL, high REAL, n INTEGER NOT NULL, step INTEGER NOT NULL);
CREATE INDEX metrics_by_name ON metrics(name);
CREATE TABLE signals (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, episode TEXT NOT NULL, turn INTEGER NOT NULL,
    versus INTEGER NOT NULL, source TEXT NOT NULL, value REAL NOT NULL, confidence REAL NOT NULL,
    payload TEXT NOT NULL, question TEXT NOT NULL, previous TEXT NOT NULL, created REAL NOT NULL);
CREATE INDEX signals_by_episode ON signals(episode);
CREATE INDEX signals_by_question ON signals(question);
CREATE TRIGGER signals_are_never_changed BEFORE UPDATE ON signals
    BEGIN SELECT RAISE(ABORT, 'signals are append-only: add a row instead'); END;
CREATE TRIGGER signals_are_never_removed BEFORE DELETE ON signals
    BEGIN SELECT RAISE(ABORT, 'signals are append-only: add a row instead'); END;
CREATE TABLE questions (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, episode TEXT NOT NULL, turn INTEGER NOT NULL,
    versus INTEGER NOT NULL, slice TEXT NOT NULL, priority REAL NOT NULL, why TEXT NOT NULL,
    round INTEGER NOT NULL);
CREATE TABLE leases (
    question TEXT PRIMARY KEY REFERENCES questions(id), annotator TEXT NOT NULL,
    expires REAL NOT NULL);
CREATE TABLE annotators (
    id TEXT PRIMARY KEY, token_hash TEXT NOT NULL, "group" TEXT NOT NULL, profile TEXT NOT NULL);
CREATE TABLE hazards (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, event INTEGER REFERENCES events(id),
    prompt TEXT NOT NULL, safe TEXT NOT NULL, generation INTEGER NOT NULL, status TEXT NOT NULL);
"""


def m0001_tables(tables: "sqlite_utils.Database") -> None:
    """All tables of the first version."""
    tables.executescript(_FIRST)


def m0002_cells_say_what_they_cost(tables: "sqlite_utils.Database") -> None:
    """Time, cost, code and error of a cell."""
    for column in (
        "seconds REAL NOT NULL DEFAULT 0",
        "cost TEXT NOT NULL DEFAULT '{}'",
        "code TEXT NOT NULL DEFAULT ''",
        "error TEXT NOT NULL DEFAULT ''",
    ):
        tables.execute(f"ALTER TABLE cells ADD COLUMN {column}")


_FORKS = """
CREATE TABLE undo (
    id INTEGER PRIMARY KEY, stage TEXT NOT NULL, "table" TEXT NOT NULL, "key" TEXT NOT NULL,
    before TEXT);
CREATE INDEX undo_by_stage ON undo(stage);
ALTER TABLE runs ADD COLUMN inherited TEXT NOT NULL DEFAULT '';
"""


def m0003_stages_can_be_undone_and_inherited(tables: "sqlite_utils.Database") -> None:
    """How to take back what stages changed, and how far a fork follows its parent."""
    tables.executescript(_FORKS)


def m0004_stages_say_how_long_they_took(tables: "sqlite_utils.Database") -> None:
    """Seconds of a stage; no part of what a run came to."""
    tables.execute("ALTER TABLE stages ADD COLUMN seconds REAL NOT NULL DEFAULT 0")


_GATHERED = """
CREATE TABLE seatings (
    hash TEXT NOT NULL, place INTEGER NOT NULL, seat TEXT NOT NULL, role TEXT NOT NULL,
    agent TEXT NOT NULL REFERENCES agents(hash), PRIMARY KEY (hash, place));
CREATE TABLE rules (hash TEXT PRIMARY KEY, rules TEXT NOT NULL);
ALTER TABLE episodes ADD COLUMN seating TEXT NOT NULL DEFAULT '';
ALTER TABLE episodes ADD COLUMN rules TEXT REFERENCES rules(hash);
ALTER TABLE episodes ADD COLUMN paid TEXT NOT NULL DEFAULT '[]';
ALTER TABLE episodes ADD COLUMN graded TEXT NOT NULL DEFAULT '[]';
ALTER TABLE episodes ADD COLUMN said TEXT NOT NULL DEFAULT '[]';
ALTER TABLE episodes ADD COLUMN numbers BLOB NOT NULL DEFAULT x'';
"""

_VIEWS = """
DROP TABLE seats;
DROP TABLE utterances;
DROP TABLE rewards;
DROP TABLE grades;
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
"""


def m0005_an_episode_is_one_row(tables: "sqlite_utils.Database") -> None:
    """What was said, paid and graded lies in the episode's row; views show the tables."""
    tables.executescript(_GATHERED)
    gather(tables.conn)
    tables.executescript(_VIEWS)


_NOTICES = """
ALTER TABLE episodes ADD COLUMN happened TEXT NOT NULL DEFAULT '[]';
ALTER TABLE events RENAME TO notices;
DROP INDEX events_by_episode;
DROP INDEX events_by_kind;
CREATE INDEX notices_by_episode ON notices(episode);
CREATE INDEX notices_by_kind ON notices(kind);
CREATE VIEW events AS
    SELECT id, stage, episode, turn, seat, kind, evidence FROM notices
    UNION ALL
    SELECT NULL, e.stage, e.id, json_extract(h.value, '$[0]'), json_extract(h.value, '$[1]'),
    json_extract(h.value, '$[2]'), json_extract(h.value, '$[3]')
    FROM episodes e, json_each(e.happened) h;
"""


def m0006_what_happened_lies_in_the_episode(tables: "sqlite_utils.Database") -> None:
    """The table keeps what was noticed beside the game, and older episodes' own events."""
    tables.executescript(_NOTICES)


MIGRATIONS = (
    m0001_tables,
    m0002_cells_say_what_they_cost,
    m0003_stages_can_be_undone_and_inherited,
    m0004_stages_say_how_long_they_took,
    m0005_an_episode_is_one_row,
    m0006_what_happened_lies_in_the_episode,
)


def applied(database: Database) -> list[str]:
    """Return the names of the migrations that a database has been through.

    Raises:
        RecordDamaged: it is not a record of ours.
        RecordTooNew: a later version of this package wrote it.
    """
    folder = database.path.parent
    mark = database.value("PRAGMA application_id")
    known = [step.__name__ for step in MIGRATIONS]
    tables = {name for (name,) in database.rows("SELECT name FROM sqlite_master")}
    if not tables:
        return []
    if mark != APPLICATION_ID or "_sqlite_migrations" not in tables:
        raise RecordDamaged(f"{database.path} is a database, but no record of a run")
    names = [
        name
        for (name,) in database.rows(
            "SELECT name FROM _sqlite_migrations WHERE migration_set = 'superalign' ORDER BY id"
        )
    ]
    new = sorted(set(names) - set(known))
    if new or database.value("PRAGMA user_version") > len(known):
        raise RecordTooNew(
            f"{folder} was written by a later version of superalign-env "
            f"(it knows {', '.join(new) or 'a later schema'}); upgrade with "
            "`pip install -U superalign-env`"
        )
    return names


def migrate(database: Database, *, upto: int | None = None) -> None:
    """Bring a database to the newest schema (or to the first ``upto`` steps, in tests)."""
    from sqlite_utils.migrations import Migrations  # noqa: PLC0415 - slow import

    steps = MIGRATIONS[:upto]
    if len(applied(database)) >= len(steps):
        return
    with database.transaction() as connection:
        ordered = Migrations("superalign")
        for step in steps:
            ordered()(step)
        ordered.apply(database.tables)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(steps)}")
