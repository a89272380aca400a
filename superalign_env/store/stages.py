"""Stages of a run in order: inputs, outputs, random state, cost."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from superalign_env.canonical import from_json, to_json
from superalign_env.errors import RecordError
from superalign_env.store.database import Database, Row
from superalign_env.store.seals import Files, Seals
from superalign_env.store.signals import Signals
from superalign_env.store.undo import remove_stage
from superalign_env.store.utterances import read_lines

_COLUMNS = "id, generation, round, name, status, inputs, outputs, rng, signals_to"

_SPOKEN = """
SELECT rowid, coalesce(stage, ''), said FROM episodes
WHERE rowid >= ? ORDER BY rowid LIMIT 1024
"""
_SIGNALLED = """
SELECT coalesce(e.stage, ''), total(s.question <> ''), total(s.question = '')
FROM signals s LEFT JOIN episodes e ON e.id = s.episode GROUP BY 1
"""


class Stage(NamedTuple):
    """One step of the driver."""

    id: str
    """Sorts in order of time: ``0003-self-play``."""
    generation: int
    round: int
    name: str
    status: str
    """``running``, ``done``, ``interrupted`` or ``failed``."""
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    rng: dict[str, Any]
    """Random state: at the begin, and once done at the end."""
    signals_to: int
    """Id of the last signal that the stage may read."""


class StageCost(NamedTuple):
    """Cost of one stage, in counts."""

    stage: str
    """Empty for what belongs to no stage."""
    episodes: int = 0
    utterances: int = 0
    prompt_tokens: int = 0
    """Read by agents that record their tokens; others count as nothing."""
    tokens: int = 0
    """Written by them."""
    labels: int = 0
    """Answers of people to questions about episodes of this stage."""
    statements: int = 0
    """Other signals about them: verdicts and labels that nobody was asked for."""


class Stages:
    """The table of stages. Reached as ``run.stages``.

    Args:
        database: of the run.
        signals: of the run; a stage that is done again repeats its own.
        seals: of the run; a stage that is done is sealed.
    """

    def __init__(self, database: Database, signals: Signals, seals: Seals) -> None:
        self._database = database
        self._signals = signals
        self._seals = seals
        self._files = Files(database)
        self._known: dict[str, Stage] = {}

    def begin(
        self,
        name: str,
        *,
        generation: int = 0,
        round: int = 0,
        inputs: Mapping[str, Any] | None = None,
        rng: Mapping[str, Any] | None = None,
        again: str | None = None,
    ) -> Stage:
        """Add a running stage; it reads the signals that exist now, and no later ones.

        Args:
            name: of the stage.
            generation: it belongs to.
            round: it belongs to.
            inputs: what it finds, as plain JSON values.
            rng: random state at its begin.
            again: id of a stage that never ended, whose place this one takes: what that
                one wrote is removed, and this one reads no later signals than it did.
                Signals cannot be removed: those that are said again are known already.

        Raises:
            RecordError: the stage to take the place of is done.
        """
        with self._database.transaction() as connection:
            signals_to = self._signals.last_id()
            if again is not None:
                signals_to = self.get(again).signals_to
                self.discard(again)
            number = (
                self._database.value("SELECT max(CAST(id AS INTEGER)) FROM stages") or 0
            )
            stage = f"{number + 1:04d}-{name}"
            row = {
                "id": stage,
                "run": self._database.value("SELECT id FROM runs"),
                "generation": generation,
                "round": round,
                "name": name,
                "status": "running",
                "inputs": _json(inputs),
                "outputs": "{}",
                "rng": _json(rng),
                "signals_to": signals_to,
            }
            connection.execute(
                f"INSERT INTO stages({', '.join(row)}) "
                f"VALUES ({', '.join(f':{column}' for column in row)})",
                row,
            )
            self._signals.repeat(since=signals_to if again is not None else None)
        return self.get(stage)

    def finish(
        self,
        stage: str,
        *,
        outputs: Mapping[str, Any] | None = None,
        rng: Mapping[str, Any] | None = None,
        status: str = "done",
        seconds: float = 0.0,
    ) -> Stage:
        """Close a stage, with its outputs and the random state to go on from.

        One that is done is sealed.

        Args:
            stage: its id.
            outputs: plain JSON values.
            rng: random state; that of the begin when absent.
            status: ``done``, ``failed`` or ``interrupted``.
            seconds: that it took; kept beside the stage, for `seconds`.
        """
        kept = self.get(stage)
        state = _json(kept.rng if rng is None else rng)
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE stages SET status = ?, outputs = ?, rng = ?, seconds = ? "
                "WHERE id = ?",
                (status, _json(outputs), state, seconds, stage),
            )
            if status == "done":
                self._files.keep_named(outputs or {})
                self._seals.add(stage)
        self._signals.repeat(since=None)
        return self.get(stage)

    def get(self, stage: str) -> Stage:
        """Return one stage.

        Raises:
            RecordError: there is none of this id.
        """
        row = self._database.row(f"SELECT {_COLUMNS} FROM stages WHERE id = ?", (stage,))
        if row is None:
            ids = ", ".join(ids.id for ids in self.all()) or "none"
            raise RecordError(
                f"no stage {stage!r} in {self._database.path.parent}; known: {ids}"
            )
        return _stage(row)

    def seconds(self) -> dict[str, float]:
        """Return stage → seconds that it took, for those that are done."""
        rows = self._database.rows(
            "SELECT id, seconds FROM stages WHERE status = 'done' ORDER BY rowid"
        )
        return {name: seconds for name, seconds in rows if seconds > 0}

    def all(self, *, status: str | None = None) -> list[Stage]:
        """Return all stages in order, or those of one status."""
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM stages ORDER BY rowid")
        return [stage for stage in map(self._read, rows) if status in (None, stage.status)]

    def _read(self, row: Row) -> Stage:
        """Return the stage of a row; one that is done never changes, and is read once."""
        stage = self._known.get(row[0])
        if stage is None:
            stage = _stage(row)
            if stage.status == "done":
                self._known[stage.id] = stage
        return stage

    def discard(self, stage: str) -> int:
        """Remove a stage that never ended, with all it wrote, so that it can run again.

        Signals stay: they are append-only, and the same episodes will bear the same names.

        Returns:
            How many episodes went.

        Raises:
            RecordError: the stage is done.
        """
        if self.get(stage).status == "done":
            raise RecordError(
                f"stage {stage} is done; only unfinished stages can be discarded"
            )
        with self._database.transaction() as connection:
            return remove_stage(connection, stage)

    def costs(self) -> list[StageCost]:
        """Return the cost of each stage, in order; stages that cost nothing are left out."""
        costs = self._utterance_costs()
        for stage, labels, statements in self._database.rows(_SIGNALLED):
            cost = costs.get(stage, StageCost(stage))
            costs[stage] = cost._replace(labels=int(labels), statements=int(statements))
        return [costs[stage] for stage in sorted(costs)]

    def _utterance_costs(self) -> dict[str, StageCost]:
        """Return the utterances and tokens of each stage, some episodes in memory at a time."""
        totals: dict[str, list[int]] = {}
        for rows in self._database.pages(_SPOKEN):
            for _, stage, said in rows:
                total = totals.setdefault(stage, [0, 0, 0, 0])
                total[0] += 1
                for line in read_lines(said):
                    total[1] += 1
                    total[2] += line.prompt or 0
                    total[3] += line.token or 0
        return {
            stage: StageCost(stage, episodes, utterances, prompt // 4, token // 4)
            for stage, (episodes, utterances, prompt, token) in totals.items()
        }


def _json(value: Mapping[str, Any] | None) -> str:
    return to_json(dict(value or {})).decode()


def _stage(row: Row) -> Stage:
    *plain, inputs, outputs, rng, signals_to = row
    read = [from_json(text, dict[str, Any]) for text in (inputs, outputs, rng)]
    return Stage._make((*plain, *read, signals_to))
