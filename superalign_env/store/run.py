"""A run: a folder with its record, its checkpoints and its lock."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, Unpack

from superalign_env.canonical import from_json
from superalign_env.errors import RecordDamaged, RecordError
from superalign_env.plain_text import inline
from superalign_env.store import run_folder
from superalign_env.store.agents import Agents, Annotators
from superalign_env.store.database import Database
from superalign_env.store.events import Events, Hazards
from superalign_env.store.files import sweep
from superalign_env.store.metrics import Cells, Metrics
from superalign_env.store.queries import Census, EpisodeQueries, UtteranceRow, Where
from superalign_env.store.questions import Questions
from superalign_env.store.run_lock import RunLock
from superalign_env.store.seals import Files, Seals
from superalign_env.store.signals import Signals
from superalign_env.store.stages import Stages
from superalign_env.store.undo import watch
from superalign_env.types import Episode, Grade, Reward


class RunInfo(NamedTuple):
    """Identity, settings and status of a run."""

    id: str
    parent: str
    """Id of the run that this one was forked from."""
    kind: str
    status: str
    """``running``, ``done``, ``interrupted`` or ``failed``."""
    config: dict[str, Any]
    versions: dict[str, str]
    revision: str
    seed: int
    inherited: str
    """Id of the last stage that a fork took over from its parent; empty in other runs."""


class Run:
    """A run folder, opened. Use it as a context manager.

    One that was made there is ``done`` at the end of the block, ``interrupted`` by Ctrl-C
    and ``failed`` by any other error, unless somebody said otherwise by `set_status`.

    Everything but what was played is reached by its table: ``run.stages``,
    ``run.metrics``, ``run.events``, ``run.agents``, ``run.hazards``, ``run.cells``,
    ``run.signals``, ``run.questions``, ``run.annotators``, ``run.files``, ``run.seals``.

    Threads may share a Run; a second process opens its own, read-only or ``beside``.
    """

    def __init__(self, path: Path, database: Database, lock: RunLock | None) -> None:
        self.path = path
        self.database = database
        """For the store's own modules; nobody else writes SQL."""
        self._lock = lock
        if lock is not None:
            database.before_writing = lock.require
            watch(database)
        self._closed = False
        self._closing: dict[Callable[[], None], None] = {}
        self._undecided = False
        """Whether this Run was made here, and nobody has said yet how it stands."""
        self._queries = EpisodeQueries(database)
        self.signals = Signals(database)
        self.seals = Seals(database)
        self.files = Files(database)
        self.stages = Stages(database, self.signals, self.seals)
        self.metrics = Metrics(database)
        self.events = Events(database)
        self.agents = Agents(database)
        self.hazards = Hazards(database)
        self.cells = Cells(database)
        self.questions = Questions(database, self.signals)
        self.annotators = Annotators(database)

    @classmethod
    def create(
        cls,
        path: Path | str,
        *,
        kind: str,
        config: Mapping[str, Any],
        seed: int,
        parent: str | None = None,
    ) -> Self:
        """Make a run folder and open it for work.

        Args:
            path: the folder; may exist, but holds no run yet.
            kind: ``train``, ``play``, ``eval``, ``experiment`` …
            config: everything the run was asked to do, as plain JSON values.
            seed: the run's seed.
            parent: id of the run that this one continues or forks.

        Raises:
            RecordError: the folder holds a run already.
            RecordLocked: another process works in the folder.
        """
        path = Path(path)
        made = run_folder.make(path, kind=kind, config=config, seed=seed, parent=parent)
        run = cls(path, *made)
        run._undecided = True
        return run

    @classmethod
    def open(
        cls, path: Path | str, readonly: bool = False, *, beside: bool = False
    ) -> Self:
        """Open a run folder.

        Args:
            path: the folder.
            readonly: needs no lock and cannot write.
            beside: may write while another process works on the run: signals, questions
                and leases, but no episodes.

        Raises:
            RecordError: there is no run; the message names the nearest ones.
            RecordLocked: another process works on the run.
            RecordDamaged: the database is broken.
            RecordOtherFormat: another version wrote it.
        """
        path = Path(path)
        lock = not (readonly or beside)
        return cls(path, *run_folder.enter(path, readonly=readonly, lock=lock))

    @property
    def info(self) -> RunInfo:
        """Identity, settings and status of the run."""
        row = self.database.row(
            "SELECT id, coalesce(parent, ''), kind, status, config, versions, revision, seed, "
            "inherited FROM runs"
        )
        if row is None:
            raise RecordDamaged(f"{self.database.path} has no row about its run")
        *plain, config, made_with, commit, seed, inherited = row
        read = from_json(config, dict[str, Any]), from_json(made_with, dict[str, str])
        return RunInfo._make((*plain, *read, commit, seed, inherited))

    def set_status(self, status: str) -> None:
        """Set the status: ``running``, ``done``, ``interrupted``, ``failed``."""
        with self.database.transaction():
            self.database.write("UPDATE runs SET status = ?", [(status,)])
            if status == "done":  # no kill leaves a run that is done without a seal
                self.seals.close()
        self._undecided = False

    def episode(self, name: str) -> Episode:
        """Return one episode, equal to the one that was written.

        Raises:
            RecordError: there is none of this id.
            RecordDamaged: its rows do not fit together.
        """
        return self._queries.episode(name)

    def named(self, names: Sequence[str]) -> list[Episode]:
        """Return episodes by their ids, in the given order.

        Raises:
            RecordError: one of them is not there.
            RecordDamaged: the rows of one do not fit together.
        """
        return self._queries.named(names)

    def episodes(self, **where: Unpack[Where]) -> Iterator[Episode]:
        """Yield episodes lazily, in order of stage, case and member. See `Where`."""
        return self._queries.each(**where)

    def episode_ids(self, **where: Unpack[Where]) -> list[str]:
        """Return the ids of episodes, in the same order."""
        return self._queries.ids(**where)

    def count(self, **where: Unpack[Where]) -> int:
        """Return the number of episodes."""
        return self._queries.count(**where)

    def planted(self) -> dict[str, int]:
        """Count planted answers by the stage in which they were judged."""
        return self._queries.planted()

    def census(self) -> list[Census]:
        """Count episodes by stage, scenario, arm and ending."""
        return self._queries.census()

    def utterances(self, **where: Unpack[Where]) -> Iterator[UtteranceRow]:
        """Yield utterances, without building episodes."""
        return self._queries.utterances(**where)

    def rewards(self, **where: Unpack[Where]) -> Iterator[tuple[str, Reward]]:
        """Yield (episode, reward part)."""
        return self._queries.rewards(**where)

    def grades(self, **where: Unpack[Where]) -> Iterator[tuple[str, Grade]]:
        """Yield (episode, grade): the truth. Nothing that builds training rows calls it."""
        return self._queries.grades(**where)

    def sweep(self, folder_name: str) -> list[str]:
        """Remove files in a folder of the run that no finished stage names.

        An unfinished stage may have left it. Returns what went, relative to the run.

        Raises:
            RecordError: the run was not opened for work.
        """
        self.require_work()
        return sweep(self.database, folder_name)

    def require_work(self) -> None:
        """Raise unless this Run holds the lock of its folder.

        Raises:
            RecordError: it was opened to read, or beside another process.
        """
        if self._lock is None:
            raise RecordError(f"{self.path} was not opened for work: use Run.open(path)")

    def on_close(self, callback: Callable[[], None], *, forget: bool = False) -> None:
        """Call something before the run closes (writers flush), or no longer call it."""
        if forget:
            self._closing.pop(callback, None)
        else:
            self._closing[callback] = None

    def close(self) -> None:
        """Flush writers, close the database, free the lock; twice does no harm."""
        try:
            self._call_back()
            self._seal()
        finally:
            self._undecided = False
            self.database.close()
            if self._lock is not None:
                self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with ExitStack() as stack:
            stack.callback(self.close)
            if self._undecided:
                self._conclude(error)

    def _seal(self) -> None:
        """Seal what was written beside stages; what cannot be sealed is told by `validate`."""
        if not self.database.readonly and not self._closed:
            self._closed = True
            with suppress(RecordError, ValueError):
                self.seals.close()

    def _call_back(self) -> None:
        with ExitStack() as stack:
            for callback in list(self._closing):
                stack.callback(callback)

    def _conclude(self, error: BaseException | None) -> None:
        """Set the final status, after writers have flushed: what they lose is not done."""
        try:
            self._call_back()
        except BaseException as lost:
            error = error or lost
            raise
        finally:
            # What broke is worth more to who reads it than that this could not be noted.
            with nullcontext() if error is None else suppress(RecordError):
                self.set_status(_ended_by(error))

    def __repr__(self) -> str:
        return f"<Run {inline(str(self.path))}>"


def _ended_by(error: BaseException | None) -> str:
    """Return the status of a run that an error ended, or none."""
    if error is None or (isinstance(error, SystemExit) and not error.code):
        return "done"
    return "failed" if isinstance(error, Exception) else "interrupted"
