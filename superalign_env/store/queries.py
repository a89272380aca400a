"""Queries over episodes, in order of stage, case and member, lazily."""

import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypedDict, Unpack

from superalign_env.canonical import from_json
from superalign_env.errors import InvalidOption, RecordDamaged, RecordError
from superalign_env.store.database import Database, Row
from superalign_env.store.serialization import (
    EpisodeRow,
    EpisodeRows,
    grades_of,
    rewards_of,
    unpack,
)
from superalign_env.store.utterances import read_lines
from superalign_env.types import AgentSpec, Episode, Grade, Reward, Seat, Split

_CHUNK = 256

_EPISODE = ", ".join(f'"{column}"' for column in EpisodeRow._fields)


class Where(TypedDict, total=False):
    """Filter of episodes: all that is given must fit."""

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
    arm: str | None
    task: str | None
    """Id of the task that the case began with."""
    fault: bool | None
    """Whether the truth found a fault: a grade below 1. For people; nothing that builds
    training rows asks for it."""


class UtteranceRow(NamedTuple):
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


_CHOSEN = {
    "stage": "e.stage = :stage",
    "generation": "e.stage IN (SELECT id FROM stages WHERE generation = :generation)",
    "round": "e.stage IN (SELECT id FROM stages WHERE round = :round)",
    "scenario": "(e.scenario = :scenario OR e.scenario || '-' || e.version = :scenario)",
    "split": "e.split = :split",
    "ending": "e.ending = :ending",
    "case": 'e."case" = :case',
    "arm": "e.arm = :arm",
    "task": "e.task = :task",
    "fault": "(SELECT min(json_extract(g.value, '$[4]')) < 1 FROM json_each(e.graded) g) = :fault",
}
"""What may be asked for, and how; only what is asked for, so that an index can serve it."""

_SEATED = {"seat": "x.seat = :seat", "agent": "x.agent = :agent"}
"""The same of one seat: who sits in it has to fit at once."""


class EpisodeQueries:
    """Queries over episodes. `Run` has the methods that everybody uses."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._specs: dict[str, AgentSpec] = {}
        self._seatings: dict[str, list[Row]] = {}
        self._rules: dict[str, str] = {}

    def ids(self, **where: Unpack[Where]) -> list[str]:
        """Return the ids of the episodes that fit, in order."""
        rows = self._database.rows(
            f'SELECT e.id {_from(where)} ORDER BY e.stage, e."case", e.member, e.id',
            {**where},
        )
        return [name for (name,) in rows]

    def count(self, **where: Unpack[Where]) -> int:
        """Return the number of episodes that fit."""
        return int(self._database.value(f"SELECT count(*) {_from(where)}", {**where}))

    def census(self) -> list[Census]:
        """Count episodes by stage, scenario, arm and ending."""
        rows = self._database.rows(
            "SELECT coalesce(e.stage, ''), e.scenario || CASE e.version WHEN '' THEN '' "
            "ELSE '-' || e.version END, e.arm, e.ending, count(*) "
            "FROM episodes e GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4"
        )
        return [Census._make(row) for row in rows]

    def planted(self) -> dict[str, int]:
        """Count planted answers by the stage in which they were judged."""
        rows = self._database.rows(
            "SELECT coalesce(stage, ''), sum(json_array_length(planted)) FROM episodes "
            "WHERE planted != '[]' GROUP BY 1"
        )
        return {stage: int(count) for stage, count in rows}

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
        rows_by_id = {rows.episode.id: rows for rows in self.rows_of(list(names))}
        missing = next((name for name in names if name not in rows_by_id), None)
        if missing is not None:
            folder = self._database.path.parent
            raise RecordError(
                f"no episode {missing!r} in {folder}; "
                f"`superalign ls {shlex.quote(str(folder))}` lists them"
            )
        return [self.whole(rows_by_id[name]) for name in names]

    def each(self, **where: Unpack[Where]) -> Iterator[Episode]:
        """Yield the episodes that fit, a chunk in memory at a time."""
        for rows in self.rows_of(self.ids(**where)):
            yield self.whole(rows)

    def whole(self, rows: EpisodeRows) -> Episode:
        """Return the episode that the rows describe.

        Raises:
            RecordDamaged: they do not fit together.
        """
        name = rows.episode.id
        try:
            return unpack(rows, self._agents(rows.seats))
        except (ValueError, KeyError, TypeError) as error:
            raise RecordDamaged(
                f"episode {name} of {self._database.path.parent} does not fit together "
                f"({error!r}); `superalign validate` lists all damage"
            ) from error

    def rows_of(self, names: list[str]) -> Iterator[EpisodeRows]:
        """Yield the rows of episodes, in the given order; unknown names are left out."""
        for chunk, marks in _chunks(names):
            table_rows = self._database.rows(
                f"SELECT {_EPISODE} FROM episodes WHERE id IN ({marks})", chunk
            )
            episodes = {row[0]: EpisodeRow._make(row) for row in table_rows}
            for name in chunk:
                row = episodes.get(name)
                if row is not None:
                    seats, rules = self._seats(row.seating), self._rules_of(row.rules)
                    yield EpisodeRows(row, seats, rules)

    def utterances(self, **where: Unpack[Where]) -> Iterator[UtteranceRow]:
        """Yield utterances, without building episodes; `seat` picks the speaker."""
        seat = where.get("seat")
        for name, said, numbers in self._columns("said, numbers", **where):
            for line in read_lines(said):
                if seat in (None, line.seat):
                    identity = (name, line.turn, line.seat, line.text)
                    yield UtteranceRow(*identity, *line.numbers(numbers), line.policy)

    def rewards(self, **where: Unpack[Where]) -> Iterator[tuple[str, Reward]]:
        """Yield (episode, reward part)."""
        seat = where.get("seat")
        for name, paid in self._columns("paid", **where):
            for reward in rewards_of(paid):
                if seat in (None, reward.seat):
                    yield name, reward

    def grades(self, **where: Unpack[Where]) -> Iterator[tuple[str, Grade]]:
        """Yield (episode, grade): the truth. Nothing that builds training rows calls it."""
        seat = where.get("seat")
        for name, graded in self._columns("graded", **where):
            for grade in grades_of(graded):
                if seat in (None, grade.seat):
                    yield name, grade

    def _columns(self, columns: str, **where: Unpack[Where]) -> Iterator[Row]:
        """Yield the id and some columns of the episodes that fit, in order."""
        for chunk, marks in _chunks(self.ids(**where)):
            rows = self._database.rows(
                f"SELECT id, {columns} FROM episodes WHERE id IN ({marks})", chunk
            )
            rows_by_id = {row[0]: row for row in rows}
            yield from [rows_by_id[name] for name in chunk if name in rows_by_id]

    def _seats(self, seating: str) -> list[Row]:
        seats = self._seatings.get(seating)
        if not seats:
            seats = self._seatings[seating] = self._database.rows(
                "SELECT seat, role, agent FROM seatings WHERE hash = ? ORDER BY place",
                (seating,),
            )
        return seats

    def _rules_of(self, name: str) -> str:
        rules = self._rules.get(name)
        if not rules:
            row_value = self._database.value(
                "SELECT rules FROM rules WHERE hash = ?", (name,)
            )
            rules = self._rules[name] = str(row_value or "")
        return rules

    def _agents(self, seats: Iterable[Row]) -> dict[str, AgentSpec]:
        """Return specs by hash, read anew when one is not cached yet."""
        if any(agent not in self._specs for _, _, agent in seats):
            rows: list[Any] = self._database.rows("SELECT hash, spec FROM agents")
            self._specs = {name: from_json(spec, AgentSpec) for name, spec in rows}
        return self._specs


def _chunks(names: list[str]) -> Iterator[tuple[list[str], str]]:
    """Yield some names at a time, and as many question marks."""
    for start in range(0, len(names), _CHUNK):
        chunk = names[start : start + _CHUNK]
        yield chunk, ",".join("?" * len(chunk))


def _from(where: Where) -> str:
    """Return FROM and WHERE of a query about the episodes ``e`` that fit.

    Raises:
        InvalidOption: nothing can be chosen so.
    """
    unknown = set(where) - set(Where.__annotations__)
    if unknown:
        raise InvalidOption(
            f"episodes cannot be chosen by {', '.join(sorted(unknown))}; "
            f"known: {', '.join(Where.__annotations__)}"
        )
    chosen = {name for name, value in where.items() if value is not None}
    wanted = [_CHOSEN[name] for name in _CHOSEN if name in chosen]
    seated = " AND ".join([_SEATED[name] for name in _SEATED if name in chosen])
    if seated:
        wanted.append(f"e.seating IN (SELECT x.hash FROM seatings x WHERE {seated})")
    return f"FROM episodes e{' WHERE ' if wanted else ''}{' AND '.join(wanted)}"
