"""Annotators: who may answer, and from which group of people they come."""

import hmac
from collections.abc import Mapping
from typing import Any, NamedTuple

from superalign_env.canonical import from_json, text_hash, to_json
from superalign_env.store.database import Database, Row


class Annotator(NamedTuple):
    """A person, or a simulated one."""

    id: str
    group: str
    profile: dict[str, Any]
    """Background; for simulated annotators accuracy, bias, drift."""


class Annotators:
    """The table of annotators. Reached as ``run.annotators``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def enroll(
        self,
        name: str,
        *,
        group: str = "",
        profile: Mapping[str, Any] | None = None,
        token: str = "",
    ) -> Annotator:
        """Add an annotator, or replace the one of this name. Only the token's hash is kept."""
        row = {
            "id": name,
            "token_hash": text_hash(token) if token else "",
            "group": group,
            "profile": to_json(dict(profile or {})).decode(),
        }
        with self._database.transaction():
            self._database.tables.table("annotators").upsert(row, pk="id")
        return Annotator(name, group, dict(profile or {}))

    def admits(self, name: str, token: str) -> bool:
        """Return whether the token is the one that the annotator was enrolled with."""
        kept = self._database.value(
            "SELECT token_hash FROM annotators WHERE id = ?", (name,)
        )
        return bool(kept) and hmac.compare_digest(kept, text_hash(token))

    def get(self, name: str) -> Annotator | None:
        """Return one annotator; None when there is none of this name."""
        rows = self._database.rows(
            'SELECT id, "group", profile FROM annotators WHERE id = ?', (name,)
        )
        return _annotator(rows[0]) if rows else None

    def all(self) -> list[Annotator]:
        """Return all annotators in the order of enrolment."""
        rows = self._database.rows(
            'SELECT id, "group", profile FROM annotators ORDER BY rowid'
        )
        return [_annotator(row) for row in rows]


def _annotator(row: Row) -> Annotator:
    return Annotator(row[0], row[1], from_json(row[2], dict[str, Any]))
