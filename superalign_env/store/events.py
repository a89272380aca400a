"""Events: alarms, rollbacks, failures, canary hits, with dotted kinds.

What happened in an episode lies in its row and is read with it; what stages, gates, people
and detectors noticed outside of the game or after it lies in a table of notices. The view
``events`` shows both.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from superalign_env.canonical import from_json, to_json
from superalign_env.errors import RecordDamaged, RecordError
from superalign_env.store.database import Database, Row
from superalign_env.types import Event

_SELECT = (
    "SELECT id, coalesce(stage, ''), coalesce(episode, ''), turn, seat, kind, evidence "
    "FROM notices"
)

_IN_EPISODES = (
    "SELECT rowid, id, happened FROM episodes WHERE rowid > ? AND happened != '[]' "
    "ORDER BY rowid LIMIT ?"
)

_CHUNK = 4096

_Counted = tuple[int, str, str, msgspec.Raw]
"""(turn, seat, kind, evidence); the last one is not looked at."""

_decode = msgspec.json.Decoder(list[_Counted]).decode


class Happened(NamedTuple):
    """An event that was noticed, and where."""

    id: int
    stage: str
    episode: str
    event: Event


class Events:
    """What was noticed, beside what happens in episodes. Reached as ``run.events``."""

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
    ) -> list[Happened]:
        """Return what was noticed, in order of id; what happened in an episode it holds itself.

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

    def get(self, ids: Iterable[int]) -> dict[int, Happened]:
        """Return what was noticed, by id; unknown ids are left out."""
        found = {}
        for number in dict.fromkeys(ids):
            row = self._database.row(f"{_SELECT} WHERE id = ?", (number,))
            if row is not None:
                found[number] = _happened(row)
        return found

    def of_the_run(self) -> list[Happened]:
        """Return what was noticed about no episode, in order of id."""
        rows = self._database.rows(f"{_SELECT} WHERE episode IS NULL ORDER BY id")
        return [_happened(row) for row in rows]

    def kinds(self) -> dict[str, int]:
        """Return how many events there are of each kind, in episodes and beside, by name.

        It looks into every episode: a second or two for a million events.

        Raises:
            RecordDamaged: what happened in an episode cannot be read.
        """
        rows = self._database.rows("SELECT kind, count(*) FROM notices GROUP BY 1")
        counted = Counter({kind: int(n) for kind, n in rows})
        counted.update(kind for events in self._happened() for _, _, kind, _ in events)
        return dict(sorted(counted.items()))

    def count(self, kind: str) -> int:
        """Return how many events there are of exactly this kind; as quick as `kinds`."""
        return self.kinds().get(kind, 0)

    def _happened(self) -> Iterator[list[_Counted]]:
        """Yield what happened in each episode, a chunk of them in memory at a time."""
        last = 0
        while rows := self._database.rows(_IN_EPISODES, (last, _CHUNK)):
            last = rows[-1][0]
            for _, name, happened in rows:
                try:
                    yield _decode(happened)
                except ValueError as error:
                    raise RecordDamaged(
                        f"what happened in episode {name} of {self._database.path.parent} "
                        f"cannot be read ({error}); `superalign validate` lists all damage"
                    ) from error


def _happened(row: Row) -> Happened:
    number, stage, episode, turn, seat, kind, evidence = row
    event = Event(kind, seat, turn, from_json(evidence, dict[str, Any]))
    return Happened(number, stage, episode, event)
