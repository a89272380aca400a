"""An experiment is run: what is known is read, the rest is computed, all of it summed up.

Who computes what: the process that runs an experiment holds the lock of its folder, and
only it writes cells. It marks a cell ``running``, gives it to one worker, and writes what
came back. A second process is turned away by the lock, so no cell is computed twice at a
time; a cell found ``running`` belongs to a process that is gone, and is computed again, in
the same folder, where a run within it continues.
"""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from superalign_env.errors import CellsFailed, RecordError
from superalign_env.store import Run
from superalign_training.experiments.engine.bench import begun
from superalign_training.experiments.engine.experiment import Experiment
from superalign_training.experiments.engine.ledger import Ledger
from superalign_training.experiments.engine.plan import Job, Mode, Plan, folder_of, plan
from superalign_training.experiments.engine.report import Report, summed_up
from superalign_training.experiments.engine.watching import Silent, Watcher
from superalign_training.experiments.engine.work import Answer, Task, complaint, in_turn
from superalign_training.experiments.engine.workers import side_by_side
from superalign_training.loop.stopping import sigterm_as_interrupt

KIND = "experiment"

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
        ledger = Ledger(run, planned)
        run.set_status("running")
        try:
            _compute(ledger, jobs=jobs, recompute=recompute, watcher=told)
            report = summed_up(planned, ledger.finished())
        except KeyboardInterrupt:
            run.set_status("interrupted")
            raise
        except BaseException:
            run.set_status("failed")
            raise
        report.write(where)
        run.set_status("done")
    return report


def _compute(ledger: Ledger, *, jobs: int, recompute: bool, watcher: Watcher) -> None:
    """Compute every cell that is not done.

    Raises:
        CellsFailed: some could not be computed.
    """
    for text in ledger.remarks():
        watcher.say(text)
    todo = ledger.todo(recompute=recompute)
    cached = len(ledger.jobs) - len(todo)
    workers = max(1, min(jobs, len(todo)))
    watcher.start(todo, cached=cached, workers=workers)
    task = Task(ledger.experiment.cell, str(ledger.folder), ledger.scope)
    if workers > 1:
        answers = side_by_side(task, todo, told=_Both(ledger, watcher), workers=workers)
    else:
        answers = in_turn(task, todo, told=_Both(ledger, watcher))
    failed: list[tuple[Job, Answer]] = []
    with sigterm_as_interrupt(), closing(answers):
        for job, answer in answers:
            ledger.end(job, answer)
            watcher.end(job, answer)
            failed += [(job, answer)] if answer.error else []
    _write_errors(ledger.folder / ERRORS, failed)
    if failed:
        raise CellsFailed(_failures(failed, len(ledger.jobs), ledger.folder))


class _Both(NamedTuple):
    """A cell that begins is claimed, and shown."""

    ledger: Ledger
    watcher: Watcher

    def begin(self, job: Job) -> None:
        self.ledger.begin(job)
        self.watcher.begin(job)

    def step(self, job: Job, share: float) -> None:
        self.watcher.step(job, share)


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
