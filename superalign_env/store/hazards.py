"""Hazards: inputs on which a policy misbehaved, with evidence and the safe behaviour."""

from typing import NamedTuple

from superalign_env.canonical import content_hash
from superalign_env.errors import RecordError
from superalign_env.store.database import Database

_COLUMNS = "id, kind, event, prompt, safe, generation, status"


class Hazard(NamedTuple):
    """One x̂, and once it is known its ŷ."""

    id: str
    kind: str
    event: int | None
    """Id of the event that is the evidence."""
    prompt: str
    safe: str
    """The safe behaviour ŷ; empty until somebody wrote it."""
    generation: int
    status: str
    """``open``, ``answered``, ``trained`` …"""


class Hazards:
    """The table of hazards. Reached as ``run.hazards``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        kind: str,
        prompt: str,
        *,
        event: int | None = None,
        safe: str = "",
        generation: int = 0,
        status: str = "open",
    ) -> str:
        """Record a hazard; one that is known (same kind, prompt, generation) stays as it is.

        Returns:
            Its id.
        """
        name = content_hash([kind, prompt, generation])
        row = (name, kind, event, prompt, safe, generation, status)
        self._database.write(
            f"INSERT OR IGNORE INTO hazards({_COLUMNS}) VALUES (?,?,?,?,?,?,?)", [row]
        )
        return name

    def update(
        self, name: str, *, safe: str | None = None, status: str | None = None
    ) -> None:
        """Write the safe behaviour, the status, or both.

        Raises:
            RecordError: no such hazard.
        """
        known = self._database.row("SELECT safe, status FROM hazards WHERE id = ?", (name,))
        if known is None:
            raise RecordError(f"no hazard {name!r} in {self._database.path.parent}")
        changed = (
            known[0] if safe is None else safe,
            known[1] if status is None else status,
        )
        self._database.write(
            "UPDATE hazards SET safe = ?, status = ? WHERE id = ?", [(*changed, name)]
        )

    def all(self, *, kind: str | None = None, status: str | None = None) -> list[Hazard]:
        """Return hazards in the order in which they were found."""
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM hazards ORDER BY rowid")
        return [
            hazard
            for hazard in (Hazard(*row) for row in rows)
            if kind in (None, hazard.kind) and status in (None, hazard.status)
        ]
