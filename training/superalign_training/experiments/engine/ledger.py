"""What is known of an experiment's cells, in its record: read, claimed, written."""

import json
import shutil
from collections.abc import Sequence

from superalign_env.canonical import content_hash
from superalign_env.store import Cell, Run
from superalign_training.experiments.engine.bench import CELLS
from superalign_training.experiments.engine.plan import Job, Plan
from superalign_training.experiments.engine.sources import Snapshot, changed, snapshot
from superalign_training.experiments.engine.work import Answer

SNAPSHOTS = "code"
"""Folder of the files behind each hash of the code."""


class Ledger:
    """The cells of one call. Only who holds the lock of the run's folder writes them.

    Args:
        run: opened for work.
        plan: what the call computes.
    """

    def __init__(self, run: Run, plan: Plan) -> None:
        self.folder = run.path
        self.experiment = plan.experiment
        self.jobs = plan.jobs()
        self._run = run
        self._revision = str(plan.experiment.revision)
        self._sources = snapshot(plan.experiment.cell)
        self._code = content_hash(self._sources)[:16]
        self._write_sources()

    @property
    def scope(self) -> str:
        """What things that cells share belong to; other code makes them anew."""
        return f"{self.experiment.name} {self._revision} {self._code}"

    def todo(self, *, recompute: bool) -> list[Job]:
        """Return the cells that are to be computed.

        Args:
            recompute: also those that other code computed; what they left is removed.
        """
        return [job for job in self.jobs if not self._is_done(job, recompute)]

    def begin(self, job: Job) -> None:
        """Claim a cell."""
        self._put(job, "running", Answer({}), self._first_code(job))

    def end(self, job: Job, answer: Answer) -> None:
        """Write what came of a cell."""
        claimed = self._run.cells.get(job.hash)
        code = claimed.code if claimed else self._code
        self._put(job, "failed" if answer.error else "done", answer, code)

    def finished(self) -> list[Cell]:
        """Return the cells of the plan, in its order."""
        found = [self._run.cells.get(job.hash) for job in self.jobs]
        return [cell for cell in found if cell is not None]

    def remarks(self) -> list[str]:
        """Return what a person should know: cells of other revisions, and of other code."""
        cells = self._run.cells.all()
        said = []
        older = sorted({cell.revision for cell in cells} - {self._revision})
        if older:
            said.append(
                f"{self.folder} also holds cells of revision {', '.join(older)}: they are kept "
                f"and not used; this is revision {self._revision}"
            )
        wanted = {job.hash for job in self.jobs}
        used = [
            c for c in cells if c.hash in wanted and (c.status == "done" or self._left(c))
        ]
        for code in sorted({cell.code for cell in used} - {self._code}):
            count = sum(cell.code == code for cell in used)
            said.append(
                f"warning: {count} of the cells were computed (or begun) by other code, which "
                f"differs in {_few(changed(self._sources_of(code), self._sources))}. If that "
                "changes results, raise `revision` in the experiment's file, or compute them "
                "again with --recompute"
            )
        return said

    def _is_done(self, job: Job, recompute: bool) -> bool:
        cell = self._run.cells.get(job.hash)
        if cell is None or (recompute and cell.code != self._code):
            shutil.rmtree(self.folder / CELLS / job.hash, ignore_errors=True)
            return False
        return cell.status == "done"

    def _first_code(self, job: Job) -> str:
        """Return the code that a cell counts for: what began the folder it continues in."""
        known = self._run.cells.get(job.hash)
        return known.code if known and self._left(known) else self._code

    def _left(self, cell: Cell) -> bool:
        """Return whether a cell left something to continue from."""
        return (self.folder / CELLS / cell.hash).exists()

    def _put(self, job: Job, status: str, answer: Answer, code: str) -> None:
        cell = Cell(
            job.hash,
            self.experiment.name,
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
        self._run.cells.put(cell)

    def _write_sources(self) -> None:
        (self.folder / SNAPSHOTS).mkdir(exist_ok=True)
        path = self.folder / SNAPSHOTS / f"{self._code}.json"
        path.write_text(json.dumps(self._sources, indent=1) + "\n", encoding="utf-8")

    def _sources_of(self, code: str) -> Snapshot:
        path = self.folder / SNAPSHOTS / f"{code}.json"
        found: Snapshot = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        return found


def _few(names: Sequence[str]) -> str:
    """Return names, or how many there are when they are many."""
    shown = ", ".join(names[:4])
    return shown if len(names) <= 4 else f"{shown} and {len(names) - 4} more files"
