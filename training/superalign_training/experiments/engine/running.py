"""An experiment is run: what is known is read, the rest is computed, all of it summed up.

Who computes what: the process that runs an experiment holds the lock of its folder, and
only it writes cells. It marks a cell ``running``, gives it to one worker, and writes what
came back. A second process is turned away by the lock, so no cell is computed twice; a
cell found ``running`` belongs to a process that is gone, and is computed again, in the
same folder, where a run within it continues.
"""

import json
import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from superalign_env.canonical import content_hash
from superalign_env.errors import CellsFailed, RecordError
from superalign_env.store import Cell, Run
from superalign_training.experiments.engine.bench import CELLS, begun
from superalign_training.experiments.engine.experiment import Experiment
from superalign_training.experiments.engine.plan import Job, Mode, Plan, folder_of, plan
from superalign_training.experiments.engine.report import Report, summed_up
from superalign_training.experiments.engine.sources import Snapshot, changed, snapshot
from superalign_training.experiments.engine.watching import Silent, Watcher
from superalign_training.experiments.engine.work import Answer, Task, complaint, in_turn
from superalign_training.experiments.engine.workers import side_by_side
from superalign_training.loop.stopping import sigterm_as_interrupt

KIND = "experiment"

SNAPSHOTS = "code"
"""Folder of the files behind each hash of the code."""

ERRORS = "errors.txt"


def run_experiment(
    experiment: Experiment,
    folder: Path | str | None = None,
    *,
    mode: Mode = "full",
    seeds: Sequence[int] | None = None,
    jobs: int = 1,
    recompute: bool = False,
    watcher: Watcher | None = None,
) -> Report:
    """Compute the cells that are not known yet and return what all of them say.

    Args:
        experiment: which.
        folder: of its record; ``runs/NAME``, ``runs/NAME-quick``, ``runs/NAME-tune``.
        mode: the frozen conditions, quick ones, or a tuning.
        seeds: other ones than the experiment's; the result is then no claim.
        jobs: processes. The result does not depend on it.
        recompute: compute again what other code computed.
        watcher: is told how it goes; nobody when absent.

    Raises:
        InvalidOption: seeds that make no sense, a cell that other processes cannot import.
        RecordError: the folder holds something else.
        RecordLocked: another process runs the experiment there.
        CellsFailed: of some cells; the others are kept, and these are tried again next time.
        KeyboardInterrupt: by Ctrl-C or SIGTERM; the next call continues.
    """
    planned = plan(experiment, mode=mode, seeds=seeds)
    where = Path(folder) if folder is not None else folder_of(experiment.name, mode)
    told = watcher or Silent()
    with _opened(where, planned) as run:
        session = _Session(run, planned, told)
        run.set_status("running")
        try:
            session.compute(jobs=jobs, recompute=recompute)
            report = summed_up(planned, session.finished())
        except KeyboardInterrupt:
            run.set_status("interrupted")
            raise
        except BaseException:
            run.set_status("failed")
            raise
        report.write(where)
        run.set_status("done")
    return report


class _Session:
    """One call of an experiment on its open record."""

    def __init__(self, run: Run, planned: Plan, watcher: Watcher) -> None:
        self._run = run
        self._plan = planned
        self._watcher = watcher
        self._experiment = planned.experiment
        self._revision = str(planned.experiment.revision)
        now = snapshot(planned.experiment.cell)
        self._code = content_hash(now)[:16]
        self._write_snapshot(now)
        self._say_what_differs(now)

    def compute(self, *, jobs: int, recompute: bool) -> None:
        """Compute every cell of the plan that is not done.

        Raises:
            CellsFailed: some could not be computed.
        """
        everything = self._plan.jobs()
        todo = [job for job in everything if not self._is_done(job, recompute)]
        workers = max(1, min(jobs, len(todo)))
        self._watcher.start(todo, cached=len(everything) - len(todo), workers=workers)
        failed: list[tuple[Job, Answer]] = []
        scope = f"{self._experiment.name} {self._revision}"
        task = Task(self._experiment.cell, str(self._run.path), scope)
        if workers > 1:
            answers = side_by_side(task, todo, begin=self._begin, workers=workers)
        else:
            answers = in_turn(task, todo, begin=self._begin)
        with sigterm_as_interrupt(), closing(answers):
            for job, answer in answers:
                self._end(job, answer)
                failed += [(job, answer)] if answer.error else []
        _write_errors(self._run.path / ERRORS, failed)
        if failed:
            raise CellsFailed(_failures(failed, len(everything), self._run.path))

    def finished(self) -> list[Cell]:
        """Return the cells of the plan, in its order."""
        found = [self._run.cells.get(job.hash) for job in self._plan.jobs()]
        return [cell for cell in found if cell is not None]

    def _is_done(self, job: Job, recompute: bool) -> bool:
        cell = self._run.cells.get(job.hash)
        if cell is None or cell.status != "done":
            return False
        if not recompute or cell.code == self._code:
            return True
        shutil.rmtree(self._run.path / CELLS / job.hash, ignore_errors=True)
        return False

    def _begin(self, job: Job) -> None:
        self._run.cells.put(self._cell(job, "running", Answer({}), self._first_code(job)))
        self._watcher.begin(job)

    def _end(self, job: Job, answer: Answer) -> None:
        known = self._run.cells.get(job.hash)
        status = "failed" if answer.error else "done"
        code = known.code if known else self._code
        self._run.cells.put(self._cell(job, status, answer, code))
        self._watcher.end(job, answer)

    def _first_code(self, job: Job) -> str:
        """Return the code that a cell counts for: what began the folder it continues in."""
        known = self._run.cells.get(job.hash)
        return known.code if known and self._is_used(known) else self._code

    def _is_used(self, cell: Cell) -> bool:
        """Return whether something of an earlier computation is used: all, or its folder."""
        return cell.status == "done" or (self._run.path / CELLS / cell.hash).exists()

    def _cell(self, job: Job, status: str, answer: Answer, code: str) -> Cell:
        return Cell(
            job.hash,
            self._experiment.name,
            job.params,
            job.seed,
            self._revision,
            status,
            answer.result,
            answer.seconds,
            answer.cost,
            code,
            answer.error,
        )

    def _write_snapshot(self, now: Snapshot) -> None:
        folder = self._run.path / SNAPSHOTS
        folder.mkdir(exist_ok=True)
        text = json.dumps(now, indent=1)
        (folder / f"{self._code}.json").write_text(text + "\n", encoding="utf-8")

    def _say_what_differs(self, now: Snapshot) -> None:
        """Tell of cells of other revisions, which are not used, and of other code, which are."""
        cells = self._run.cells.all()
        older = sorted({cell.revision for cell in cells} - {self._revision})
        if older:
            self._watcher.say(
                f"{self._run.path} also holds cells of revision {', '.join(older)}: they are "
                f"kept and not used; this is revision {self._revision}"
            )
        wanted = {job.hash for job in self._plan.jobs()}
        others = [
            c
            for c in cells
            if c.hash in wanted and c.code != self._code and self._is_used(c)
        ]
        for code in sorted({cell.code for cell in others}):
            count = sum(cell.code == code for cell in others)
            self._watcher.say(
                f"warning: {count} of the cells were computed (or begun) by other code, which "
                f"differs in {_few(changed(_snapshot_of(self._run.path, code), now))}. If "
                "that changes results, raise `revision` in the experiment's file, or compute "
                "them again with --recompute"
            )


def _opened(folder: Path, planned: Plan) -> Run:
    """Open or make the record.

    Raises:
        RecordError: the folder holds something else; says what to do.
        RecordLocked: another process works there.
    """
    name, mode = planned.experiment.name, planned.mode
    config = {"experiment": name, "mode": mode}
    if not begun(folder):
        return Run.create(folder, kind=KIND, config=config, seed=planned.seeds[0])
    run = Run.open(folder)
    info = run.info
    if info.kind == KIND and info.config == config:
        return run
    run.close()
    held = " ".join(map(str, info.config.values())) if info.kind == KIND else info.kind
    raise RecordError(
        f"{folder} holds a run of another kind ({held}), not {name} {mode}; choose another "
        f"folder with --out, or leave it out for {folder_of(name, mode)}"
    )


def _snapshot_of(folder: Path, code: str) -> Snapshot:
    path = folder / SNAPSHOTS / f"{code}.json"
    found: Snapshot = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return found


def _failures(failed: list[tuple[Job, Answer]], total: int, folder: Path) -> str:
    lines = [
        f"  {job.condition} seed {job.seed}: {complaint(answer.error)}"
        for job, answer in failed[:10]
    ]
    lines += ["  …"] if len(failed) > 10 else []
    return "\n".join(
        [
            f"{len(failed)} of {total} cells failed; without them nothing is summed up:",
            *lines,
            f"Their traces are in {folder / ERRORS}. The others are kept: the same command "
            "tries only these again.",
        ]
    )


def _write_errors(path: Path, failed: list[tuple[Job, Answer]]) -> None:
    """Write the traces of cells that failed; no file when none did."""
    path.unlink(missing_ok=True)
    if failed:
        parts = [
            f"{job.condition} seed {job.seed}\n{answer.error}" for job, answer in failed
        ]
        path.write_text("\n".join(parts), encoding="utf-8")


def _few(names: Sequence[str]) -> str:
    """Return names, or how many there are when they are many."""
    shown = ", ".join(names[:4])
    return shown if len(names) <= 4 else f"{shown} and {len(names) - 4} more files"
