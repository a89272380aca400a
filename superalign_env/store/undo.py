"""Removal of a stage: of its rows, and of its changes to tables that outlive it.

Agents, hazards and questions belong to the run, not to one stage: a stage that is done
again, or left out of a fork, must find them as they were. While a stage runs, every
change that this process makes to them leaves a line in the table of undo, by triggers of
its own connection (after sqlite.org/undoredo.html). What people change beside the run is
theirs, and is never taken back.
"""

import sqlite3
from collections.abc import Sequence

from superalign_env.canonical import from_json
from superalign_env.store.database import Database

_WATCHED = {
    "agents": (
        "hash",
        "spec",
        "role",
        "generation",
        "side",
        "parent",
        "path",
        "accepted",
    ),
    "hazards": ("id", "kind", "event", "prompt", "safe", "generation", "status"),
    "questions": ("id",),  # filed, and never changed
}
"""Table → its columns; the first one is the key."""

_SPARED = {
    "agents": "AND hash NOT IN (SELECT agent FROM seatings)",
    "questions": "AND id NOT IN (SELECT question FROM signals)",
}
"""Table → which new rows stay, because others point at them."""

_RUNNING = "(SELECT id FROM stages WHERE status = 'running' ORDER BY rowid DESC LIMIT 1)"


def watch(database: Database) -> None:
    """Log changes of this connection while a stage runs, from now on."""
    for table, columns in _WATCHED.items():
        key = columns[0]
        old, new = _as_json("old", columns), _as_json("new", columns)
        database.connection.execute(
            f"CREATE TEMP TRIGGER undo_new_{table} AFTER INSERT ON main.{table} "
            f"WHEN {_RUNNING} IS NOT NULL BEGIN "
            'INSERT INTO undo(stage, "table", "key", before) '
            f"VALUES ({_RUNNING}, '{table}', new.{key}, NULL); END"
        )
        database.connection.execute(
            f"CREATE TEMP TRIGGER undo_change_{table} AFTER UPDATE ON main.{table} "
            f"WHEN {_RUNNING} IS NOT NULL AND {old} IS NOT {new} BEGIN "
            'INSERT INTO undo(stage, "table", "key", before) '
            f"VALUES ({_RUNNING}, '{table}', old.{key}, {old}); END"
        )


def remove_stage(connection: sqlite3.Connection, stage: str) -> int:
    """Remove a stage with all it wrote but signals; call it within a transaction.

    Returns:
        How many episodes went.
    """
    episodes = "SELECT id FROM episodes WHERE stage = :stage"
    notices = f"SELECT id FROM notices WHERE stage = :stage OR episode IN ({episodes})"
    open_questions = (
        f"SELECT id FROM questions WHERE episode IN ({episodes}) "
        "AND id NOT IN (SELECT question FROM signals)"
    )
    named = {"stage": stage}
    (gone,) = connection.execute(f"SELECT count(*) FROM ({episodes})", named).fetchone()
    for statement in (
        f"DELETE FROM leases WHERE question IN ({open_questions})",
        f"DELETE FROM questions WHERE id IN ({open_questions})",
        f"DELETE FROM hazards WHERE event IN ({notices})",
        f"DELETE FROM notices WHERE id IN ({notices})",
        "DELETE FROM metrics WHERE stage = :stage",
        "DELETE FROM episodes WHERE stage = :stage",
        "DELETE FROM seatings WHERE hash NOT IN (SELECT seating FROM episodes)",
        "DELETE FROM rules WHERE hash NOT IN (SELECT rules FROM episodes)",
    ):
        connection.execute(statement, named)
    _take_back(connection, stage)
    connection.execute("DELETE FROM stages WHERE id = :stage", named)
    return int(gone)


def _take_back(connection: sqlite3.Connection, stage: str) -> None:
    """Undo a stage's changes, the last one first; call it within a transaction.

    Call it when the stage's episodes are gone. Agents of other episodes stay, and so do
    questions that somebody answered.
    """
    # Else the triggers would note that these lines are worked off.
    connection.execute("UPDATE stages SET status = 'failed' WHERE id = ?", (stage,))
    lines = connection.execute(
        'SELECT "table", "key", before FROM undo WHERE stage = ? ORDER BY id DESC', (stage,)
    ).fetchall()
    for table, key, before in lines:
        if table in _WATCHED:
            _undo(connection, table, key, before)
    connection.execute(
        "DELETE FROM leases WHERE question NOT IN (SELECT id FROM questions)"
    )
    connection.execute("DELETE FROM undo WHERE stage = ?", (stage,))


def _as_json(row: str, columns: Sequence[str]) -> str:
    pairs = ", ".join(f"'{column}', {row}.{column}" for column in columns)
    return f"json_object({pairs})"


def _undo(connection: sqlite3.Connection, table: str, key: str, before: str | None) -> None:
    name, *others = _WATCHED[table]
    if before is None:
        connection.execute(
            f"DELETE FROM {table} WHERE {name} = ? {_SPARED.get(table, '')}", (key,)
        )
    else:
        was = from_json(before, dict[str, str | int | None])
        connection.execute(
            f"UPDATE {table} SET {', '.join(f'{c} = :{c}' for c in others)} "
            f"WHERE {name} = :{name}",
            was,
        )
