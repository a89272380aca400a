"""Events: alarms, rollbacks, failures, canary hits, with dotted kinds."""

from collections.abc import Iterable
from typing import NamedTuple

from superalign_env.canonical import to_json
from superalign_env.errors import RecordError
from superalign_env.store.database import Database, Row
from superalign_env.store.unpacking import event_of
from superalign_env.types import Event

_SELECT = (
    "SELECT id, coalesce(stage, ''), coalesce(episode, ''), turn, seat, kind, evidence "
    "FROM events"
)


class Happened(NamedTuple):
    """An event, and where it happened."""

    id: int
    stage: str
    episode: str
    event: Event


class Events:
    """The table of events. Reached as ``run.events``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, event: Event, *, stage: str = "", episode: str = "") -> int:
        """Record an event of a stage, or one that was noticed later about a stored episode.

        Returns:
            Its id.

        Raises:
            RecordError: the episode is not stored (yet): flush its writer first.
        """
        with self._database.transaction() as connection:
            if episode and not self._database.row(
                "SELECT 1 FROM episodes WHERE id = ?", (episode,)
            ):
                raise RecordError(
                    f"episode {episode} is not stored; flush its writer first"
                )
            cursor = connection.execute(
                "INSERT INTO events(stage, episode, turn, seat, kind, evidence) "
                "VALUES (?,?,?,?,?,?)",
                (
                    stage or None,
                    episode or None,
                    event.turn,
                    event.seat,
                    event.kind,
                    to_json(event.evidence).decode(),
                ),
            )
            return int(cursor.lastrowid or 0)

    def read(
        self,
        *,
        kind: str | None = None,
        stage: str | None = None,
        episode: str | None = None,
        since: int = 0,
    ) -> list[Happened]:
        """Return events in order of id.

        Args:
            kind: exact, or a dotted beginning: ``gate`` finds ``gate.rolled-back``.
            stage: only of this stage.
            episode: only of this episode.
            since: only those with a greater id.
        """
        rows = self._database.rows(
            f"{_SELECT} WHERE id > :since AND (:kind IS NULL OR kind = :kind "
            "OR substr(kind, 1, length(:kind) + 1) = :kind || '.') "
            "AND (:stage IS NULL OR stage = :stage) "
            "AND (:episode IS NULL OR episode = :episode) ORDER BY id",
            {"since": since, "kind": kind, "stage": stage, "episode": episode},
        )
        return [_happened(row) for row in rows]

    def get(self, ids: Iterable[int]) -> dict[int, Happened]:
        """Return events by id; unknown ids are left out."""
        found = {}
        for number in dict.fromkeys(ids):
            row = self._database.row(f"{_SELECT} WHERE id = ?", (number,))
            if row is not None:
                found[number] = _happened(row)
        return found

    def of_the_run(self) -> list[Happened]:
        """Return the events that belong to no episode, in order of id."""
        rows = self._database.rows(f"{_SELECT} WHERE episode IS NULL ORDER BY id")
        return [_happened(row) for row in rows]

    def kinds(self) -> dict[str, int]:
        """Return how many events there are of each kind, by name."""
        rows = self._database.rows(
            "SELECT kind, count(*) FROM events GROUP BY 1 ORDER BY 1"
        )
        return {kind: int(n) for kind, n in rows}

    def count(self, kind: str) -> int:
        """Return how many events there are of exactly this kind."""
        return int(
            self._database.value("SELECT count(*) FROM events WHERE kind = ?", (kind,))
        )


def _happened(row: Row) -> Happened:
    return Happened._make((*row[:3], event_of(row[3:])))
