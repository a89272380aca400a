"""Signals: append-only statements, chained by hash so that tampering shows.

Each signal carries the content hash of the one before it. Nobody can change, remove or
slip one in without breaking every later link; triggers refuse the honest mistakes.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from superalign_env.canonical import content_hash, from_json, to_json
from superalign_env.errors import InvalidOption
from superalign_env.store.database import Database, Row
from superalign_env.types import Question, Signal, SignalKind

_COLUMNS = (
    "id, kind, episode, turn, versus, versus_episode, source, value, confidence, payload, "
    "question, previous, created"
)

_NAMES = _COLUMNS.split(", ")
"""The same, as fields of `Signal`."""


class Signals:
    """The log of signals. Reached as ``run.signals``.

    Args:
        database: of the run.
        clock: seconds since 1970, for `Signal.created`.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._said: dict[str, list[Signal]] = {}

    def repeat(self, *, since: int | None) -> None:
        """Expect signals again that were appended after one of that id; None: no longer.

        For a stage that is done again: what it says as it did the first time is not
        appended twice, and bears the id that it had.
        """
        self._said = {}
        if since is not None:
            for signal in reversed(self.read(since=since)):
                self._said.setdefault(_content(signal), []).append(signal)

    def append(self, signals: Sequence[Signal]) -> tuple[Signal, ...]:
        """Add signals, all or none; those that are repeated (`repeat`) are there already.

        Returns:
            The signals as they were stored: with id, link and time.

        Raises:
            ValueError: a value or confidence outside [0, 1].
            InvalidOption: a preference between two episodes that are no members of one case.
        """
        for signal in signals:
            if not (0 <= signal.value <= 1 and 0 <= signal.confidence <= 1):
                raise ValueError(
                    f"a {signal.kind} of {signal.source} says {signal.value} with confidence "
                    f"{signal.confidence}; both must lie in [0, 1]"
                )
        require_members(self._database, [s for s in signals if s.kind == "preference"])
        with self._database.transaction() as connection:
            last = self._last()
            previous, number = (link(last), last.id) if last else ("", 0)
            stored: list[Signal] = []
            new: list[Signal] = []
            for signal in signals:
                known = self._said.get(_content(signal)) if self._said else None
                if known:
                    stored.append(known.pop())
                    continue
                number += 1
                new.append(self._stamped(signal, number, previous))
                stored.append(new[-1])
                previous = link(new[-1])
            connection.executemany(
                f"INSERT INTO signals({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
                map(_row, new),
            )
        return tuple(stored)

    def read(
        self,
        *,
        episode: str | None = None,
        kind: SignalKind | None = None,
        source: str | None = None,
        since: int = 0,
        upto: int | None = None,
    ) -> list[Signal]:
        """Return signals in order.

        Args:
            episode: only about this episode; a pair of two episodes is about both.
            kind: only of this kind.
            source: only by this source.
            since: only those with a greater id.
            upto: only up to this id, included: what a stage may read (`Stage.signals_to`).
        """
        rows = self._database.rows(
            f"SELECT {_COLUMNS} FROM signals WHERE id > :since "
            "AND (:upto IS NULL OR id <= :upto) "
            "AND (:episode IS NULL OR episode = :episode OR versus_episode = :episode) "
            "AND (:kind IS NULL OR kind = :kind) AND (:source IS NULL OR source = :source) "
            "ORDER BY id",
            {
                "since": since,
                "upto": upto,
                "episode": episode,
                "kind": kind,
                "source": source,
            },
        )
        return [signal_of(row) for row in rows]

    def of(self, episode: str, *, upto: int | None = None) -> list[Signal]:
        """Return the standing signals about one episode: what was undone is left out."""
        rows = self._database.rows(
            f"SELECT {_COLUMNS} FROM signals WHERE (episode = :episode OR versus_episode = "
            ":episode) AND id <= :upto ORDER BY id",
            {"episode": episode, "upto": (1 << 62) if upto is None else upto},
        )
        return standing(signal_of(row) for row in rows)

    def standing(
        self, *, kind: SignalKind | None = None, since: int = 0, upto: int | None = None
    ) -> list[Signal]:
        """Return the signals of a kind that nobody took back, in order.

        What takes back is a skip, whatever it undoes: do not ask `read` for one kind and
        then for what stands. Arguments as in `read`.
        """
        said = standing(self.read(since=since, upto=upto))
        return [signal for signal in said if kind in (None, signal.kind)]

    def last_id(self) -> int:
        """Return the id of the newest signal; 0 when there is none."""
        return int(self._database.value("SELECT max(id) FROM signals") or 0)

    def first_broken(self) -> int:
        """Return the id of the first signal whose link does not fit; 0 when all do."""
        previous = ""
        for number, signal in enumerate(self.read(), start=1):
            if signal.id != number or signal.previous != previous:
                return signal.id
            previous = link(signal)
        return 0

    def _last(self) -> Signal | None:
        row = self._database.row(f"SELECT {_COLUMNS} FROM signals ORDER BY id DESC LIMIT 1")
        return signal_of(row) if row else None

    def _stamped(self, signal: Signal, number: int, previous: str) -> Signal:
        return msgspec.structs.replace(
            signal,
            id=number,
            previous=previous,
            # As SQLite gives them back, so that the hash does not depend on int or float.
            value=float(signal.value) + 0.0,
            confidence=float(signal.confidence) + 0.0,
            created=float(signal.created or self._clock()),
        )


def link(signal: Signal) -> str:
    """Return what the next signal must carry as `Signal.previous`."""
    return content_hash(signal)


def _content(signal: Signal) -> str:
    """Return what a signal says, whenever and after whatever it was said."""
    value, confidence = float(signal.value) + 0.0, float(signal.confidence) + 0.0
    said = msgspec.structs.replace(
        signal, value=value, confidence=confidence, id=0, previous="", created=0.0
    )
    return content_hash(said)


def require_members(database: Database, about: Iterable[Signal | Question]) -> None:
    """Refuse pairs of two episodes that are no members of one case.

    What they were paid is compared with what other members of the case were, and a late
    answer returns the whole case.

    Raises:
        InvalidOption: names both.
    """
    for one in about:
        if one.versus_episode is None:
            continue
        found = database.row(
            "SELECT count(*), count(DISTINCT json_remove(json_extract(record, '$.key'), "
            "'$.member')) FROM episodes WHERE id IN (?, ?)",
            (one.episode, one.versus_episode),
        )
        if found != (2, 1) or one.versus < 0:
            raise InvalidOption(
                f"turn {one.turn} of {one.episode} cannot be compared with turn {one.versus} "
                f"of {one.versus_episode}: a pair names two recorded members of one case and "
                "a turn of each; leave versus_episode out for two turns of one episode"
            )


def standing(signals: Iterable[Signal]) -> list[Signal]:
    """Return the signals that nobody took back, without those that take back."""
    known = list(signals)
    undone = {signal.payload.get("undoes") for signal in known}
    return [s for s in known if s.id not in undone and "undoes" not in s.payload]


def signal_of(row: Row) -> Signal:
    """Return the signal of one row."""
    said = dict(zip(_NAMES, row, strict=True))
    return Signal(**{**said, "payload": from_json(said["payload"], dict[str, Any])})


def _row(s: Signal) -> Row:
    payload = to_json(s.payload).decode()
    return (
        s.id,
        s.kind,
        s.episode,
        s.turn,
        s.versus,
        s.versus_episode,
        s.source,
        s.value,
        s.confidence,
        payload,
        s.question,
        s.previous,
        s.created,
    )
