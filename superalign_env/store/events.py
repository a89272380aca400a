"""Events, and the hazards that they are evidence of.

What happened in an episode lies in its row and is read with it; what stages, gates, people
and detectors noticed outside of the game or after it lies in a table of notices. The view
``events`` shows both. A hazard is an input on which a policy misbehaved, with its event and
the safe behaviour.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from superalign_env.canonical import content_hash, from_json, to_json
from superalign_env.errors import RecordDamaged, RecordError
from superalign_env.store.database import Database, Row
from superalign_env.types import Event

_SELECT = (
    "SELECT id, coalesce(stage, ''), coalesce(episode, ''), turn, seat, kind, evidence "
    "FROM notices"
)

_IN_EPISODES = (
    "SELECT rowid, id, happened FROM episodes WHERE rowid >= ? AND happened != '[]' "
    "ORDER BY rowid LIMIT 4096"
)

_Counted = tuple[int, str, str, msgspec.Raw]
"""(turn, seat, kind, evidence); the last one is not looked at."""

_decode = msgspec.json.Decoder(list[_Counted]).decode


class RecordedEvent(NamedTuple):
    """An event with its id, stage and episode."""

    id: int
    stage: str
    episode: str
    event: Event


class Events:
    """The table of notices: events beside those in episodes. Reached as ``run.events``."""

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
                "INSERT INTO notices(stage, episode, turn, seat, kind, evidence) "
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
    ) -> list[RecordedEvent]:
        """Return notices in order of id; events in episodes lie in the episodes.

        Args:
            kind: exact, or a dotted beginning: ``gate`` finds ``gate.rolled-back``.
            stage: only of this stage.
            episode: only about this episode.
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

    def get(self, ids: Iterable[int]) -> dict[int, RecordedEvent]:
        """Return id → notice; unknown ids are left out."""
        events = {}
        for number in dict.fromkeys(ids):
            row = self._database.row(f"{_SELECT} WHERE id = ?", (number,))
            if row is not None:
                events[number] = _happened(row)
        return events

    def of_the_run(self) -> list[RecordedEvent]:
        """Return notices about no episode, in order of id."""
        rows = self._database.rows(f"{_SELECT} WHERE episode IS NULL ORDER BY id")
        return [_happened(row) for row in rows]

    def kinds(self) -> dict[str, int]:
        """Return kind → number of events, in episodes and beside, by name.

        It looks into every episode: a second or two for a million events.

        Raises:
            RecordDamaged: what happened in an episode cannot be read.
        """
        rows = self._database.rows("SELECT kind, count(*) FROM notices GROUP BY 1")
        counted = Counter({kind: int(n) for kind, n in rows})
        counted.update(kind for events in self._happened() for _, _, kind, _ in events)
        return dict(sorted(counted.items()))

    def count(self, kind: str) -> int:
        """Return the number of events of exactly this kind; as slow as `kinds`."""
        return self.kinds().get(kind, 0)

    def _happened(self) -> Iterator[list[_Counted]]:
        """Yield the events in each episode, a chunk of them in memory at a time."""
        for rows in self._database.pages(_IN_EPISODES):
            for _, name, happened in rows:
                try:
                    yield _decode(happened)
                except ValueError as error:
                    raise RecordDamaged(
                        f"what happened in episode {name} of {self._database.path.parent} "
                        f"cannot be read ({error}); `superalign validate` lists all damage"
                    ) from error


def _happened(row: Row) -> RecordedEvent:
    number, stage, episode, turn, seat, kind, evidence = row
    event = Event(kind, seat, turn, from_json(evidence, dict[str, Any]))
    return RecordedEvent(number, stage, episode, event)


_COLUMNS = "id, kind, event, prompt, safe, generation, status"


class Hazard(NamedTuple):
    """One hazard x̂, with its safe behaviour ŷ once that is written."""

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
        row = self._database.row("SELECT safe, status FROM hazards WHERE id = ?", (name,))
        if row is None:
            raise RecordError(f"no hazard {name!r} in {self._database.path.parent}")
        changed = (
            row[0] if safe is None else safe,
            row[1] if status is None else status,
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
