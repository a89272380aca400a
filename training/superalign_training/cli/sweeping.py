"""Several runs side by side: each a process and a folder of its own.

Hydra's launcher for joblib has had no release since 2022 and runs everything in workers
of one pool, which a worker that is killed for memory takes along. Here every run is a
``superalign train`` of its own, so that it ends, fails, resumes and logs as it does alone.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from superalign_env.cli import output
from superalign_env.errors import RecordError
from superalign_env.plain_text import one_line
from superalign_env.store import Run
from superalign_training.selfplay.stopping import sigterm_as_interrupt
from superalign_training.selfplay.watching.standings import Standings, standings_of

_PAUSE = 0.1
"""Seconds between two looks at the processes."""

_WAIT = 120.0
"""Seconds for interrupted runs to save what is finished."""


COMMAND = (
    sys.executable,
    "-c",
    "from superalign_env.cli import main; main()",
    "train",
)
"""``superalign train``, wherever the console script lies."""


class Result(NamedTuple):
    """What became of one run."""

    name: str
    """``seed=0,gap=direct``: what it differs in."""
    folder: Path
    code: int
    """Exit code of its process."""
    seconds: float

    @property
    def log(self) -> Path:
        """What it said."""
        return self.folder.with_name(f"{self.folder.name}.log")


class _Started(NamedTuple):
    process: "subprocess.Popen[bytes]"
    since: float


class Sweep:
    """Runs to be made.

    Args:
        base: folder that holds the folders of all runs.
        runs: name, which is also the folder's → words of its command line.
        jobs: how many at once.
        resume: continue the runs that were begun; else they are refused.
        say: is told of every run that begins or ends.
        command: what the words are given to.
    """

    def __init__(
        self,
        base: Path,
        runs: Mapping[str, Sequence[str]],
        *,
        jobs: int = 1,
        resume: bool = False,
        say: Callable[[str], object] = print,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._base = base
        self._todo = dict(runs)
        self._total = len(runs)
        self._jobs = jobs
        self._resume = resume
        self._say = say
        self._command = command
        self._running: dict[str, _Started] = {}
        self._results: dict[str, Result] = {}

    def run(self) -> list[Result]:
        """Make all runs; return what became of them, in the order of the names given.

        Raises:
            KeyboardInterrupt: by Ctrl-C or SIGTERM, when all runs have saved and ended.
        """
        self._base.mkdir(parents=True, exist_ok=True)
        names = list(self._todo)
        try:
            with sigterm_as_interrupt():
                while self._todo or self._running:
                    while self._todo and len(self._running) < self._jobs:
                        self._start(next(iter(self._todo)))
                    time.sleep(_PAUSE)
                    self._collect()
        finally:
            self._stop()
        return [self._results[name] for name in names]

    def _start(self, name: str) -> None:
        words = list(self._todo.pop(name))
        folder = self._base / name
        begun = (folder / "run.db").is_file()
        if self._resume and begun:
            words.append("--resume")
        with folder.with_name(f"{name}.log").open("ab" if begun else "wb") as log:
            process = subprocess.Popen(
                [*self._command, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(self._jobs),
                # Ctrl-C at a terminal reaches this process alone, which passes it on.
                start_new_session=True,
            )
        self._running[name] = _Started(process, time.monotonic())
        self._say(f"{name} begins")

    def _collect(self) -> None:
        for name, started in list(self._running.items()):
            code = started.process.poll()
            if code is None:
                continue
            del self._running[name]
            took = time.monotonic() - started.since
            result = Result(name, self._base / name, code, took)
            self._results[name] = result
            progress = f"[{len(self._results)}/{self._total}] {name}"
            if code == 0:
                self._say(f"{progress} done in {took:.0f} s")
            else:
                self._say(f"{progress} FAILED with code {code}: {_last_line(result.log)}")

    def _stop(self) -> None:
        """End what still runs, as SIGTERM does: each saves what is finished."""
        for started in self._running.values():
            started.process.terminate()
        for started in self._running.values():
            try:
                started.process.wait(_WAIT)
            except subprocess.TimeoutExpired:
                started.process.kill()
                started.process.wait()


def results_table(results: Sequence[Result]) -> Table:
    """Return how runs ended, one row each: their last round or generation."""
    ends = {result.name: _end(result.folder) for result in results}
    columns = list(dict.fromkeys(title for end in ends.values() for title in end))
    rows = []
    for result in results:
        how = "done" if result.code == 0 else f"code {result.code}, see {result.log.name}"
        row = [ends[result.name].get(column, "") for column in columns]
        rows.append([result.name, how, *row])
    return output.table(["run", "ended", *columns], rows)


def _end(folder: Path) -> Mapping[str, str]:
    try:
        with Run.open(folder, readonly=True) as run:
            standings: Standings = standings_of(run)
    except RecordError:
        return {}
    return standings.last


def _environment(jobs: int) -> dict[str, str]:
    """Return the environment of a run; several share the cores, not each all of them."""
    paths = [path for path in sys.path if path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    if jobs > 1:
        environment.setdefault("OMP_NUM_THREADS", "1")
    return environment


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    nonempty = [line.strip() for line in lines if line.strip()]
    return one_line(nonempty[-1], 300) if nonempty else "it said nothing"
