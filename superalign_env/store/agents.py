"""Agents of a run with their lineage, and annotators."""

import hmac
from collections.abc import Mapping
from typing import Any, NamedTuple

from superalign_env.canonical import content_hash, from_json, text_hash, to_json
from superalign_env.errors import InvalidOption, RecordError
from superalign_env.plain_text import inline
from superalign_env.spaces import flaw
from superalign_env.store.database import Database, Row, upsert
from superalign_env.types import AgentSpec, Role

_LONGEST_NAME = 200
"""Characters of an annotator's name or group."""

_COLUMNS = "hash, spec, role, generation, side, parent, path, accepted"


class AgentRow(NamedTuple):
    """One agent of a run."""

    hash: str
    """Content hash of the spec."""
    spec: AgentSpec
    role: Role
    generation: int | None
    side: str
    """``-`` before value alignment, ``+`` after it."""
    parent: str
    """Hash of the agent it was trained from."""
    path: str
    """Folder of the checkpoint, relative to the run."""
    accepted: bool | None
    """What the gate said; None before it."""


class Agents:
    """The table of agents. Reached as ``run.agents``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        spec: AgentSpec,
        *,
        role: Role = "",
        generation: int | None = None,
        side: str = "",
        parent: str = "",
        path: str = "",
        accepted: bool | None = None,
    ) -> str:
        """Record an agent and its place in the lineage; a known one gets the new place.

        Returns:
            Its hash.
        """
        name = content_hash(spec)
        row = {
            "hash": name,
            "spec": to_json(spec).decode(),
            "role": role,
            "generation": generation,
            "side": side,
            "parent": parent or None,
            "path": path,
            "accepted": accepted,
        }
        if parent == name:  # training changed nothing: what it came from still holds
            del row["parent"]
        self._database.write(upsert("agents", row, key="hash"), [tuple(row.values())])
        return name

    def accept(self, name: str, accepted: bool = True) -> None:
        """Record the gate's decision.

        Raises:
            RecordError: no such agent.
        """
        self.get(name)
        self._database.write(
            "UPDATE agents SET accepted = ? WHERE hash = ?", [(accepted, name)]
        )

    def get(self, name: str) -> AgentRow:
        """Return one agent by hash.

        Raises:
            RecordError: no such agent.
        """
        row = self._database.row(f"SELECT {_COLUMNS} FROM agents WHERE hash = ?", (name,))
        if row is None:
            raise RecordError(
                f"no agent {name!r} in {self._database.path.parent}; see `run.agents.all()`"
            )
        return _agent(row)

    def all(
        self, *, role: Role | None = None, accepted: bool | None = None
    ) -> list[AgentRow]:
        """Return agents in the order in which they appeared."""
        rows = map(
            _agent, self._database.rows(f"SELECT {_COLUMNS} FROM agents ORDER BY rowid")
        )
        return [
            agent
            for agent in rows
            if role in (None, agent.role) and accepted in (None, agent.accepted)
        ]

    def ancestors(self, name: str) -> list[AgentRow]:
        """Return an agent's parents, nearest first."""
        chain: list[AgentRow] = []
        parent = self.get(name).parent
        while parent and parent not in {agent.hash for agent in chain}:
            chain.append(self.get(parent))
            parent = chain[-1].parent
        return chain


def _agent(row: Row) -> AgentRow:
    name, spec, role, generation, side, parent, path, accepted = row
    verdict = None if accepted is None else bool(accepted)
    agent_spec = from_json(spec, AgentSpec)
    return AgentRow(name, agent_spec, role, generation, side, parent or "", path, verdict)


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
        """Add an annotator, or replace the one of this name. Only the token's hash is kept.

        Raises:
            InvalidOption: a name or group that is no short line of text.
        """
        for what, said in (("name", name), ("group", group)):
            why = flaw(said, _LONGEST_NAME)
            if why or inline(said) != said or (what == "name" and not said.strip()):
                raise InvalidOption(
                    f"the {what} of an annotator must be one line of text of at most "
                    f"{_LONGEST_NAME} characters, not {said!r}"
                )
        row = {
            "id": name,
            "token_hash": text_hash(token) if token else "",
            "group": group,
            "profile": to_json(dict(profile or {})).decode(),
        }
        self._database.write(upsert("annotators", row, key="id"), [tuple(row.values())])
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
