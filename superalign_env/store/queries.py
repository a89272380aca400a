"""Reading what was played. Episodes come in order of stage, case and member, lazily."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypedDict, Unpack

from superalign_env.canonical import from_json
from superalign_env.errors import InvalidOption, RecordDamaged, RecordError
from superalign_env.store.blobs import floats, integers
from superalign_env.store.database import Database, Row
from superalign_env.store.packing import EpisodeRows
from superalign_env.store.unpacking import unpack
from superalign_env.types import AgentSpec, Episode, Grade, Reward, Seat, Split

_CHUNK = 256

_EPISODE = (
    'id, scenario, version, task, split, "case", member, parent, seed, arm, ending, record'
)
_PARTS = {
    "seats": "episode, seat, role, agent",
    "utterances": "episode, turn, seat, text, prompt_ids, token_ids, logprobs, policy",
    "rewards": "episode, turn, seat, part, value",
    "grades": "episode, turn, seat, axis, name, value",
    "events": "episode, turn, seat, kind, evidence",
}


class Where(TypedDict, total=False):
    """Which episodes: all that is given must fit."""

    stage: str | None
    """Id of a stage."""
    generation: int | None
    round: int | None
    scenario: str | None
    """``red-team``, or versioned: ``red-team-v0``."""
    split: Split | None
    seat: Seat | None
    """Only episodes in which this seat plays; of rows, only those of this seat."""
    agent: str | None
    """Only episodes in which the agent of this hash plays (in `seat`, where given)."""
    ending: str | None
    """``terminated``, ``truncated`` or ``failed``."""
    case: int | None


class Said(NamedTuple):
    """One utterance as it lies in the table, for counting and for training."""

    episode: str
    turn: int
    seat: Seat
    text: str
    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    policy: str


class Census(NamedTuple):
    """How many episodes of one kind there are."""

    stage: str
    scenario: str
    arm: str
    ending: str
    n: int


_SELECT = """
FROM episodes e LEFT JOIN stages s ON s.id = e.stage
WHERE (:stage IS NULL OR e.stage = :stage)
AND (:generation IS NULL OR s.generation = :generation)
AND (:round IS NULL OR s.round = :round)
AND (:scenario IS NULL OR e.scenario = :scenario
     OR e.scenario || '-' || e.version = :scenario)
AND (:split IS NULL OR e.split = :split)
AND (:ending IS NULL OR e.ending = :ending)
AND (:case IS NULL OR e."case" = :case)
AND (:seat IS NULL AND :agent IS NULL OR EXISTS (
     SELECT 1 FROM seats x WHERE x.episode = e.id
     AND (:seat IS NULL OR x.seat = :seat) AND (:agent IS NULL OR x.agent = :agent)))
"""


class Played:
    """Queries over episodes. `Run` has the methods that everybody uses."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._specs: dict[str, AgentSpec] = {}

    def ids(self, **where: Unpack[Where]) -> list[str]:
        """Return the ids of the episodes that fit, in order."""
        rows = self._database.rows(
            f'SELECT e.id {_SELECT} ORDER BY e.stage, e."case", e.member, e.id',
            _parameters(where),
        )
        return [name for (name,) in rows]

    def count(self, **where: Unpack[Where]) -> int:
        """Return how many episodes fit."""
        return int(self._database.value(f"SELECT count(*) {_SELECT}", _parameters(where)))

    def census(self) -> list[Census]:
        """Count episodes by stage, scenario, arm and ending."""
        rows = self._database.rows(
            "SELECT coalesce(e.stage, ''), e.scenario || CASE e.version WHEN '' THEN '' "
            "ELSE '-' || e.version END, e.arm, e.ending, count(*) "
            "FROM episodes e GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4"
        )
        return [Census._make(row) for row in rows]

    def episode(self, name: str) -> Episode:
        """Return one episode.

        Raises:
            RecordError: there is none of this id.
            RecordDamaged: its rows do not fit together.
        """
        return self.named([name])[0]

    def named(self, names: Sequence[str]) -> list[Episode]:
        """Return episodes in the given order.

        Raises:
            RecordError: one of them is not there.
            RecordDamaged: the rows of one do not fit together.
        """
        found = {rows.episode[0]: rows for rows in self.rows_of(list(names))}
        missing = next((name for name in names if name not in found), None)
        if missing is not None:
            raise RecordError(
                f"no episode {missing!r} in {self._database.path.parent}; "
                f"`superalign ls {self._database.path.parent}` lists them"
            )
        return [self.whole(found[name]) for name in names]

    def each(self, **where: Unpack[Where]) -> Iterator[Episode]:
        """Yield the episodes that fit, a chunk in memory at a time."""
        for rows in self.rows_of(self.ids(**where)):
            yield self.whole(rows)

    def whole(self, rows: EpisodeRows) -> Episode:
        """Return the episode that the rows describe.

        Raises:
            RecordDamaged: they do not fit together.
        """
        name = rows.episode[0]
        try:
            return unpack(rows, self._agents())
        except (ValueError, KeyError, TypeError) as error:
            raise RecordDamaged(
                f"episode {name} of {self._database.path.parent} does not fit together "
                f"({error!r}); `superalign validate` lists all damage"
            ) from error

    def rows_of(self, names: list[str]) -> Iterator[EpisodeRows]:
        """Yield the rows of episodes, in the given order; unknown names are left out."""
        for start in range(0, len(names), _CHUNK):
            chunk = names[start : start + _CHUNK]
            marks = ",".join("?" * len(chunk))
            found = self._database.rows(
                f"SELECT {_EPISODE} FROM episodes WHERE id IN ({marks})", chunk
            )
            episodes = {row[0]: row for row in found}
            parts = [self._part(table, chunk, marks) for table in _PARTS]
            for name in chunk:
                if name in episodes:
                    yield EpisodeRows(episodes[name], *(part[name] for part in parts))

    def utterances(self, **where: Unpack[Where]) -> Iterator[Said]:
        """Yield what was said, without building episodes; `seat` picks the speaker."""
        for _, row in self._rows_in("utterances", **where):
            *said, prompt_ids, token_ids, logprobs, policy = row
            ids = integers(prompt_ids), integers(token_ids)
            yield Said._make((*said, *ids, floats(logprobs), policy))

    def rewards(self, **where: Unpack[Where]) -> Iterator[tuple[str, Reward]]:
        """Yield (episode, reward part)."""
        for name, (_, turn, seat, part, value) in self._rows_in("rewards", **where):
            yield name, Reward(seat, part, value, turn)

    def grades(self, **where: Unpack[Where]) -> Iterator[tuple[str, Grade]]:
        """Yield (episode, grade): the truth. Nothing that builds training rows calls it."""
        for name, (_, turn, seat, axis, of, value) in self._rows_in("grades", **where):
            yield name, Grade(seat, axis, of, value, turn)

    def _part(self, table: str, names: list[str], marks: str) -> dict[str, list[Row]]:
        order = "id" if table == "events" else "rowid"
        parts: dict[str, list[Row]] = defaultdict(list)
        for row in self._database.rows(
            f"SELECT {_PARTS[table]} FROM {table} WHERE episode IN ({marks}) ORDER BY {order}",
            names,
        ):
            parts[row[0]].append(row)
        return parts

    def _rows_in(self, table: str, **where: Unpack[Where]) -> Iterator[tuple[str, Row]]:
        seat = where.get("seat")
        names = self.ids(**where)
        for start in range(0, len(names), _CHUNK):
            chunk = names[start : start + _CHUNK]
            parts = self._part(table, chunk, ",".join("?" * len(chunk)))
            for name in chunk:
                for row in parts[name]:
                    if seat in (None, row[2]):
                        yield name, row

    def _agents(self) -> dict[str, AgentSpec]:
        known = self._database.value("SELECT count(*) FROM agents")
        if known != len(self._specs):
            rows: list[Any] = self._database.rows("SELECT hash, spec FROM agents")
            self._specs = {name: from_json(spec, AgentSpec) for name, spec in rows}
        return self._specs


def _parameters(where: Where) -> dict[str, Any]:
    unknown = set(where) - set(Where.__annotations__)
    if unknown:
        raise InvalidOption(
            f"episodes cannot be chosen by {', '.join(sorted(unknown))}; "
            f"known: {', '.join(Where.__annotations__)}"
        )
    return dict.fromkeys(Where.__annotations__) | dict(where)
