"""Run an experiment: read the cells that are known, compute the others, sum all of them up.

The process that runs an experiment holds the lock of its folder, and only it writes cells.
It marks a cell ``running``, gives it to one worker, and writes the result. A second process
is turned away by the lock, so no cell is computed twice at a time; a cell found ``running``
belongs to a process that is gone, and is computed again, in the same folder, where a run
within it continues.
"""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from superalign_env.errors import CellsFailed, RecordError
from superalign_env.store import Run, begun
from superalign_training.experiments.engine.cache import CellCache
from superalign_training.experiments.engine.experiment import Experiment
from superalign_training.experiments.engine.plan import Job, Mode, Plan, folder_of, plan
from superalign_training.experiments.engine.pool import (
    CellResult,
    CellRunner,
    compute_cells,
)
from superalign_training.experiments.engine.results import ExperimentReport, report_of
from superalign_training.experiments.engine.watching import CellWatcher
from superalign_training.selfplay.stopping import sigterm_as_interrupt

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
    watcher: CellWatcher | None = None,
) -> ExperimentReport:
    """Compute the cells that are not known yet and return the report over all of them.

    Args:
        experiment: which.
        folder: of its record; ``runs/NAME``, ``runs/NAME-quick``, ``runs/NAME-tune``.
        mode: the frozen conditions, quick ones, or a tuning.
        seeds: other ones than the experiment's; the result is then no claim.
        jobs: processes. The result does not depend on it.
        recompute: compute again what other code computed.
        watcher: listens to the progress.

    Raises:
        InvalidOption: seeds that make no sense, a cell that other processes cannot import.
        RecordError: the folder holds something else.
        RecordLocked: another process runs the experiment there.
        SuperalignError: something that its cells need is missing on this machine.
        CellsFailed: of some cells; the others are kept, and these are tried again next time.
        KeyboardInterrupt: by Ctrl-C or SIGTERM; the next call continues.
    """
    planned = plan(experiment, mode=mode, seeds=seeds)
    place = Path(folder) if folder is not None else folder_of(experiment.name, mode)
    with _opened(place, planned) as run:
        cache = CellCache(run, planned)
        run.set_status("running")
        try:
            _compute(cache, jobs, recompute, watcher or CellWatcher())
            report = report_of(planned, cache.finished())
        except KeyboardInterrupt:
            run.set_status("interrupted")
            raise
        except BaseException:
            run.set_status("failed")
            raise
        run.files.keep(*report.write(place))
        run.set_status("done")
    return report


def _compute(cache: CellCache, jobs: int, recompute: bool, watcher: CellWatcher) -> None:
    """Compute every cell that is not done.

    Raises:
        CellsFailed: some could not be computed.
    """

    def begin(job: Job) -> None:
        cache.begin(job)
        watcher.begin(job)

    for text in cache.remarks():
        watcher.say(text)
    missing = cache.missing(recompute=recompute)
    if missing:
        cache.experiment.ready([job.params for job in missing])
    workers = max(1, min(jobs, len(missing)))
    watcher.start(missing, cached=len(cache.jobs) - len(missing), workers=workers)
    runner = CellRunner(cache.experiment.cell, str(cache.folder), cache.scope)
    results = compute_cells(
        runner, missing, workers=workers, on_begin=begin, on_progress=watcher.step
    )
    failed: list[tuple[Job, CellResult]] = []
    with sigterm_as_interrupt(), closing(results):
        for job, result in results:
            cache.end(job, result)
            watcher.end(job, result)
            failed += [(job, result)] if result.error else []
    _write_errors(cache.folder / ERRORS, failed)
    if failed:
        raise CellsFailed(_failures(failed, len(cache.jobs), cache.folder))


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
    content = " ".join(map(str, info.config.values())) if info.kind == KIND else info.kind
    raise RecordError(
        f"{folder} holds a run of another kind ({content}), not {name} {mode}; choose another "
        f"folder with --out, or leave it out for {folder_of(name, mode)}"
    )


def _failures(failed: list[tuple[Job, CellResult]], total: int, folder: Path) -> str:
    lines = [
        f"  {job.condition} seed {job.seed}: {result.complaint}"
        for job, result in failed[:10]
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


def _write_errors(path: Path, failed: list[tuple[Job, CellResult]]) -> None:
    """Write the traces of cells that failed; no file when none did."""
    path.unlink(missing_ok=True)
    if failed:
        parts = [
            f"{job.condition} seed {job.seed}\n{result.error}" for job, result in failed
        ]
        path.write_text("\n".join(parts), encoding="utf-8")
