"""The human channel: ask, claim a lease, answer, skip, undo, expire.

A question is open until a signal answers it. A lease says who has it on the screen; when
it runs out (a closed browser) the question is open again. Nothing is ever lost: answers
are signals, and so are skips and undos.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from msgspec.structs import replace

from superalign_env.canonical import content_hash, to_json
from superalign_env.errors import InvalidOption, RecordError
from superalign_env.spaces import flaw
from superalign_env.store.database import Database, Row, upsert
from superalign_env.store.signals import Signals, require_members
from superalign_env.types import Question, Signal

_COLUMNS = "id, kind, episode, turn, versus, versus_episode, slice, priority, why, round"

_OF_Q = ", ".join(f"q.{column}" for column in _COLUMNS.split(", "))

_STANDS = """s.question = q.id AND json_extract(s.payload, '$.undoes') IS NULL
    AND NOT EXISTS (SELECT 1 FROM signals u WHERE u.question = q.id
                    AND json_extract(u.payload, '$.undoes') = s.id)"""

_ANSWERED = f"EXISTS (SELECT 1 FROM signals s WHERE s.kind != 'skip' AND {_STANDS})"

_FREE_FOR = f"""NOT {_ANSWERED}
    AND NOT EXISTS (SELECT 1 FROM leases l WHERE l.question = q.id
                    AND l.expires > :now AND l.annotator != :annotator)
    AND NOT EXISTS (SELECT 1 FROM signals s WHERE s.kind = 'skip'
                    AND s.source = :annotator AND {_STANDS})"""

LEASE_SECONDS = 600.0

_MAX_PAYLOAD = 1 << 20
"""Bytes of what an answer says beside its value."""


class Budget(NamedTuple):
    """How the human channel stands."""

    asked: int
    answered: int
    skips: int
    leased: int


class Questions:
    """The queue of questions. Reached as ``run.questions``.

    Args:
        database: of the run.
        signals: where answers go.
        clock: seconds since 1970, for leases.
    """

    def __init__(
        self, database: Database, signals: Signals, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._signals = signals
        self._clock = clock

    def ask(
        self, questions: Sequence[Question], *, budget: int | None = None
    ) -> list[Question]:
        """File questions; one that is filed already is not filed twice.

        Args:
            questions: with ids (`question_id`) and priorities.
            budget: how many questions the whole run may file; the most urgent ones win.

        Returns:
            The questions that were filed now.

        Raises:
            InvalidOption: a pair of two episodes that are no members of one case.
        """
        require_members(self._database, questions)
        urgent = sorted(questions, key=lambda q: -q.priority)
        with self._database.transaction() as connection:
            known = {name for (name,) in self._database.rows("SELECT id FROM questions")}
            room = len(urgent) if budget is None else max(0, budget - len(known))
            filed: dict[str, Question] = {}
            for question in urgent:
                if len(filed) < room and question.id not in known:
                    filed.setdefault(question.id, question)
            connection.executemany(
                f"INSERT INTO questions({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?)",
                [_row(question) for question in filed.values()],
            )
        return list(filed.values())

    def claim(self, annotator: str, *, seconds: float = LEASE_SECONDS) -> Question | None:
        """Lease the most urgent open question to an annotator; None when none is open.

        The annotator's own unexpired lease comes first: a reloaded page shows the same
        question. What they skipped does not come back to them.
        """
        claimed = self.claim_many(annotator, 1, seconds=seconds)
        return claimed[0] if claimed else None

    def claim_many(
        self, annotator: str, limit: int, *, seconds: float = LEASE_SECONDS
    ) -> list[Question]:
        """Lease up to so many open questions at once, the most urgent first."""
        now = self._clock()
        with self._database.transaction() as connection:
            rows = self._database.rows(
                f"SELECT {_OF_Q} FROM questions q LEFT JOIN leases mine ON mine.question = q.id "
                "AND mine.annotator = :annotator AND mine.expires > :now "
                f"WHERE {_FREE_FOR} "
                "ORDER BY mine.question IS NULL, q.priority DESC, q.rowid LIMIT :limit",
                {"annotator": annotator, "now": now, "limit": limit},
            )
            connection.executemany(
                upsert("leases", ("question", "annotator", "expires"), key="question"),
                [(row[0], annotator, now + seconds) for row in rows],
            )
        return [_question(row) for row in rows]

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Write what is leased, answered and skipped within together, or none of it.

        Nobody else can write meanwhile: for simulated people, who take no time.
        """
        with self._database.transaction():
            yield

    def lease(
        self, question: str, annotator: str, *, seconds: float = LEASE_SECONDS
    ) -> bool:
        """Lease one question to an annotator, if it is open to them; say whether it was."""
        now = self._clock()
        with self._database.transaction() as connection:
            free = self._database.row(
                f"SELECT 1 FROM questions q WHERE q.id = :question AND {_FREE_FOR}",
                {"question": question, "annotator": annotator, "now": now},
            )
            if free is not None:
                connection.execute(
                    "INSERT OR REPLACE INTO leases(question, annotator, expires) "
                    "VALUES (?,?,?)",
                    (question, annotator, now + seconds),
                )
        return free is not None

    def answer(
        self,
        question: str,
        annotator: str,
        *,
        value: float,
        confidence: float = 1.0,
        payload: Mapping[str, Any] | None = None,
    ) -> Signal:
        """Turn an answer into a signal and give the lease back.

        The signal's payload keeps the hash of the question and the annotator's group.

        Raises:
            RecordError: the annotator holds no lease (it ran out, or somebody answered).
            InvalidOption: a value that is no number in [0, 1], or a payload that cannot be
                recorded; nothing is written, and the lease stays.
        """
        said = _checked(value, confidence, dict(payload or {}))
        with self._database.transaction():
            asked = self._leased(question, annotator)
            group = self._database.value(
                'SELECT "group" FROM annotators WHERE id = ?', (annotator,)
            )
            said["payload"] |= {"asked": content_hash(asked)}
            if group:
                said["payload"]["group"] = group
            return self._close(replace(self._about(asked, annotator), **said))

    def skip(self, question: str, annotator: str, *, why: str = "") -> Signal:
        """Give a question back unanswered; it stays open for others.

        Raises:
            RecordError: the annotator holds no lease.
            InvalidOption: a reason that cannot be recorded.
        """
        said = _checked(0.0, 1.0, {"why": why} if why else {}) | {"kind": "skip"}
        with self._database.transaction():
            asked = self._leased(question, annotator)
            return self._close(replace(self._about(asked, annotator), **said))

    def undo(self, signal: int, annotator: str) -> Signal:
        """Take back an own answer or skip by adding a row; the question is open again.

        Raises:
            RecordError: there is no such signal by this annotator.
        """
        with self._database.transaction():
            found = self._signals.read(since=signal - 1, upto=signal, source=annotator)
            if not found or "undoes" in found[0].payload:
                raise RecordError(
                    f"{annotator} gave no answer number {signal} that can be undone"
                )
            old = found[0]
            new = Signal(
                "skip",
                old.episode,
                old.turn,
                annotator,
                0.0,
                old.versus,
                old.versus_episode,
                payload={"undoes": signal},
                question=old.question,
            )
            return self._signals.append([new])[0]

    def expire(self) -> int:
        """Remove leases that ran out; return how many."""
        with self._database.transaction() as connection:
            gone = connection.execute(
                "DELETE FROM leases WHERE expires <= ?", (self._clock(),)
            )
            return int(gone.rowcount)

    def get(self, question: str) -> Question:
        """Return one question.

        Raises:
            RecordError: it was never asked.
        """
        row = self._database.row(
            f"SELECT {_COLUMNS} FROM questions WHERE id = ?", (question,)
        )
        if row is None:
            raise RecordError(f"no question {question!r} in {self._database.path.parent}")
        return _question(row)

    def all(self, *, answered: bool | None = None) -> list[Question]:
        """Return all questions in the order of asking, or only answered or open ones."""
        where = {None: "1", True: _ANSWERED, False: f"NOT {_ANSWERED}"}[answered]
        rows = self._database.rows(
            f"SELECT {_OF_Q} FROM questions q WHERE {where} ORDER BY q.rowid"
        )
        return [_question(row) for row in rows]

    def budget(self, *, round: int | None = None) -> Budget:
        """Count what was asked and answered, in the whole run or in one round."""
        row = self._database.row(
            f"SELECT count(*), total({_ANSWERED}), "
            f"total((SELECT count(*) FROM signals s WHERE s.kind = 'skip' AND {_STANDS})), "
            "total(EXISTS (SELECT 1 FROM leases l WHERE l.question = q.id AND l.expires > :now)) "
            "FROM questions q WHERE :round IS NULL OR q.round = :round",
            {"now": self._clock(), "round": round},
        )
        return Budget(*map(int, row or (0, 0, 0, 0)))

    def _leased(self, question: str, annotator: str) -> Question:
        asked = self.get(question)
        lease = self._database.row(
            "SELECT annotator, expires FROM leases WHERE question = ?", (question,)
        )
        if lease is None or lease[0] != annotator or lease[1] <= self._clock():
            raise RecordError(
                f"{annotator} holds no lease on question {question}: it ran out, or the "
                "question was answered; claim again"
            )
        return asked

    def _about(self, asked: Question, annotator: str) -> Signal:
        return Signal(
            asked.kind,
            asked.episode,
            asked.turn,
            annotator,
            0.0,
            asked.versus,
            asked.versus_episode,
            question=asked.id,
        )

    def _close(self, signal: Signal) -> Signal:
        """Store a signal and give the lease of its question back."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM leases WHERE question = ?", (signal.question,))
            return self._signals.append([signal])[0]


def question_id(
    kind: str,
    episode: str,
    turn: int,
    *,
    versus: int = -1,
    versus_episode: str | None = None,
    copy: int = 0,
    words: str = "",
) -> str:
    """Return the name of a question: the same question to several people differs by copy.

    With words, the same question about other words is another one.
    """
    other = versus if versus_episode is None else [versus_episode, versus]
    named = [kind, episode, turn, other, copy]
    return content_hash([*named, words] if words else named)


def _checked(value: float, confidence: float, payload: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of an answer that can be recorded, whoever gave it."""
    for name, number in (("value", value), ("confidence", confidence)):
        known = isinstance(number, (int, float)) and not isinstance(number, bool)
        if not known or not 0 <= number <= 1:
            raise InvalidOption(
                f"the {name} of an answer must be a number in [0, 1], not {number!r}"
            )
    try:
        size = len(to_json(payload))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidOption(f"an answer must be plain JSON: {error}") from error
    if size > _MAX_PAYLOAD:
        raise InvalidOption(f"an answer may take {_MAX_PAYLOAD:,} bytes, not {size:,}")
    if why := flaw(payload.get("text", ""), _MAX_PAYLOAD):
        raise InvalidOption(f"the text of an answer {why}")
    return {"value": value, "confidence": confidence, "payload": payload}


def _question(row: Row) -> Question:
    return Question(*row)


def _row(q: Question) -> Row:
    return (
        q.id,
        q.kind,
        q.episode,
        q.turn,
        q.versus,
        q.versus_episode,
        q.slice,
        float(q.priority),
        q.why,
        q.round,
    )
