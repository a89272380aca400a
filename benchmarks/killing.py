"""Processes that die at work: forked from a warm parent, at a counted operation or a line.

An operation is a file of the run that is opened to be written, moved or removed, or an SQL
statement that writes. Counting them makes a kill independent of the machine's speed. What
`chaos.py` and the tests of resume share.
"""

import ctypes
import json
import multiprocessing
import os
import random
import resource
import signal
import sqlite3
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from superalign_env.errors import SuperalignError
from superalign_env.humans.simulated import SimulatedAnnotator, work_off
from superalign_env.store import Run, digest, validate
from superalign_training.selfplay import SelfPlay
from superalign_training.selfplay.playing import stage_scenario
from superalign_training.selfplay.settings import read_settings
from superalign_training.selfplay.watching import LogLines

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload([
    "superalign_training.selfplay.run", "superalign_training.cli.forks",
    "superalign_training.loggers.tensorboard", "superalign_env.report", __name__,
    # What stages import when they begin: seconds of every process that would do it anew.
    "pandas", "peft", "openskill", "trl.trainer.grpo_trainer", "trl.trainer.sft_trainer",
    "superalign_training.algorithms.grpo", "superalign_training.algorithms.trl",
    "superalign_training.oversight.gate", "superalign_scenarios.red_team",
    "superalign_scenarios.weak_to_strong", "superalign_scenarios.exam",
    "superalign_training.evaluation.capability", "superalign_training.selfplay.sandbox",
])  # fmt: skip

ASKS = "questions wait for people"

FEW = {"steps": 1, "batch_size": 4}

SELF_PLAY: dict[str, Any] = {
    "lineup": dict.fromkeys(("attacker", "learner", "critic"), "micro/0"),
    "train": {
        "attacker": FEW,
        "learner": {"steps": 1, "batch_size": 2, "num_generations": 2},
        "critic": FEW,
    },
    "rounds": 2,
    "budget": 0.3,
    "judge": {
        "cases": 8, "check_cases": 6, "single_answer_steps": 1, "max_fits": 1, "imitation": FEW,
    },
    "attack": {"cases": 8, "archive_updates": 2, "min_distinct": 0.0},
    "supervise": {
        "cases": 4, "num_generations": 2, "algorithm": {"id": "sft", **FEW}, "replay": {"cases": 4},
    },
    "calibrate": {"cases": 4},
    "league": {"share": 0.3, "cases": 2},
    "evaluate": {
        "cases": 10, "attack_cases": 2, "fresh_queries": 4, "fresh_waves": 2,
        "families": ["arithmetic"], "family_cases": 2,
    },
}  # fmt: skip

CHAIN: dict[str, Any] = {
    **{key: SELF_PLAY[key] for key in ("lineup", "train", "judge", "attack", "calibrate")},
    "generations": 2,
    "rounds": 1,
    "budget": 0.2,
    "levels": ["micro/0", "micro/0@1"],
    "gap": "fixed-small",
    "signals": {"labels": 24, "models": ["micro/0@1"]},
    "competence": {"cases": 24, "control_cases": 8, "algorithm": {"steps": 1}},
    "discover": {"cases": 12, "archive_updates": 2, "max_hazards": 6, "score_threshold": 0.9},
    "conform": {
        "max_hazards": 6, "ordinary_cases": 6, "written_answers": 4, "algorithm": {"steps": 1},
        "replay": {"cases": 4, "imitation": FEW},
    },
    "gate": {
        "cases": 6, "request_cases": 8, "request_labels": 4, "disagreement_labels": 4,
        "deployment_cases": 8,
    },
    "capability": {
        "cases": 4, "requests": 10, "gold_tasks": 16, "ceiling": {"steps": 1}, "best_of": 2,
        "test_factor": 1,
    },
}  # fmt: skip

PEOPLE: dict[str, Any] = {
    "lineup": {"attacker": "search", "learner": "micro/0", "critic": "micro/0"},
    "train": {
        "attacker": None,
        "learner": {"id": "reinforce", "steps": 2, "batch_size": 6},
        "critic": None,
    },
    "rounds": 2,
    "budget": 0.5,
    "people": {"mode": "wait", "kinds": {"label": 2, "veto": 1}},
    "evaluate": SELF_PLAY["evaluate"],
}
"""The run stands still after each of four batches, until its questions are answered."""

Say = Callable[[str], object]

_MOVES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree")
_WRITES = ("BEGIN", "COMMIT", "INSERT", "UPDATE", "DELETE", "CREATE", "PRAGMA journal")


class Mishap(NamedTuple):
    """A failure that is injected into a process."""

    at: int = 0
    """The operation before which it is killed; 0 for none."""
    file_bytes: int = 0
    """No file may grow beyond, as under a quota (``RLIMIT_FSIZE``)."""
    pages: int = 0
    """No record may grow beyond, as on a full disk."""
    memory: int = 0
    """Bytes beyond those that it has at its start (``RLIMIT_AS``)."""
    clock: int = 0
    """Seed of a clock that jumps by days, to and fro."""
    shut: int = 0
    """The operation before which it loses the permission to write into the folder."""


NONE = Mishap()


class Ended(NamedTuple):
    """The end of a process, and its reason."""

    how: str
    """``done``; ``refused``, with a sentence; ``killed``; ``broke``, with a traceback."""
    why: str = ""
    operations: int = 0
    """How many it did."""


class Worker:
    """A process that does one job on a run.

    Args:
        job: a function of a module, called with the arguments and a function that says lines.
        arguments: of the job; can be pickled.
        folder: of the run.
        mishap: what befalls it.
    """

    def __init__(
        self,
        job: Callable[..., object],
        *arguments: Any,
        folder: Path,
        mishap: Mishap = NONE,
    ) -> None:
        self._hear, say = context.Pipe(duplex=False)
        self.process = context.Process(
            target=_work, args=(job, arguments, folder, mishap, say)
        )
        self.process.start()
        say.close()
        self.heard: list[str] = []
        self._ended: Ended | None = None

    def until(self, line: str) -> None:
        """Wait until it says something that contains a line.

        Raises:
            AssertionError: it ended before.
        """
        while not any(line in text for text in self.heard):
            ended = self._next()
            if ended is not None:
                raise AssertionError(f"{line} was never said, but {self.heard}; {ended}")

    def wait(self, seconds: float | None = None) -> Ended:
        """Return how it ended; it is killed when that takes longer than so many seconds."""
        until = None if seconds is None else time.monotonic() + seconds
        while True:
            left = None if until is None else max(0.0, until - time.monotonic())
            if self._ended is None and not self._hear.poll(left):
                return self.kill()
            ended = self._next()
            if ended is not None:
                self._close()
                return ended

    def kill(self) -> Ended:
        """Kill it, wherever it is."""
        self.process.kill()
        self._close()
        return Ended("killed")

    def _close(self) -> None:
        self.process.join()
        self._hear.close()

    def _next(self) -> Ended | None:
        """Hear one line, or how it ended."""
        if self._ended is None:
            self._ended = self._heard()
        return self._ended

    def _heard(self) -> Ended | None:
        try:
            said = self._hear.recv()
        except EOFError:
            self.process.join()
            code = self.process.exitcode
            # Whoever takes memory back kills, and so does C++ that finds none.
            dead = code in (-signal.SIGKILL, -signal.SIGABRT)
            return Ended("killed" if dead else "broke", f"exit code {code}")
        if isinstance(said, str):
            self.heard.append(said)
            return None
        return Ended(*said)


def _work(
    job: Callable[..., object],
    arguments: tuple[Any, ...],
    folder: Path,
    mishap: Mishap,
    pipe: Any,
) -> None:
    # Memory may be short at the end: what is needed to say so is here before.
    operations = _count(folder, mishap)
    _limit(mishap)
    try:
        job(*arguments, say=pipe.send)
        how, why = "done", ""
    except SuperalignError as error:
        how, why = "refused", f"{type(error).__name__}: {error}"
    except OSError as error:  # the console script says it so, where it is about a path
        how = "refused" if error.filename else "broke"
        why = f"OSError: {error}" if error.filename else traceback.format_exc()
    except BaseException:
        how, why = "broke", traceback.format_exc()
    pipe.send((how, why, operations[0]))


def _count(folder: Path, mishap: Mishap) -> list[int]:
    """Count operations from now on, and die at the one that was chosen."""
    seen, inside = [0], str(folder)

    def tick() -> None:
        seen[0] += 1
        if seen[0] == mishap.at:
            os.kill(os.getpid(), signal.SIGKILL)
        if seen[0] == mishap.shut:
            _shut(folder)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        opened = event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR)
        if (opened or event in _MOVES) and str(args[0]).startswith(inside):
            tick()

    def traced(statement: str) -> None:
        if statement.startswith(_WRITES):
            tick()

    connect = sqlite3.connect

    def connected(*args: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **options)
        if mishap.pages:
            connection.execute(f"PRAGMA max_page_count={mishap.pages}")
        connection.set_trace_callback(traced)
        return connection

    sqlite3.connect = connected  # type: ignore[assignment] # one of its overloads
    sys.addaudithook(hook)
    return seen


def _shut(folder: Path) -> None:
    """Let nobody write into a folder any more; root neither, as far as this process goes."""
    for place in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        place.chmod(0o555)
    if not os.getuid():  # PR_CAPBSET_DROP would need an exec; capset(2) is at once
        system = ctypes.CDLL(None, use_errno=True)
        head, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        system.capget(head, sets)
        sets[0] &= ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        assert system.capset(head, sets) == 0, ctypes.get_errno()


def opened_up(folder: Path) -> None:
    """Let the owner write into a folder again."""
    for place in (folder, *folder.rglob("*")):
        if place.is_dir():
            place.chmod(0o755)


def _limit(mishap: Mishap) -> None:
    if mishap.file_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (mishap.file_bytes,) * 2)
    if mishap.memory:
        with open("/proc/self/statm", encoding="ascii") as statm:
            pages = int(statm.read().split()[0])
        limit = pages * resource.getpagesize() + mishap.memory
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    if mishap.clock:
        days, real = random.Random(mishap.clock), time.time
        time.time = lambda: real() + days.uniform(-30, 30) * 86_400


# --- jobs


def train(settings: Mapping[str, Any], folder: Path, say: Say) -> None:
    """Begin or continue a run."""
    watcher = LogLines(say, every=0)
    SelfPlay(run_dir=str(folder), watcher=watcher, **settings).run(resume=True)


def answer(settings: Mapping[str, Any], folder: Path, limit: int | None, say: Say) -> None:
    """Answer what a run asks, as a simulated person; say the ids of the answers."""
    scenario: Any = stage_scenario(read_settings(settings), split="train")
    person = SimulatedAnnotator("ann", accuracy=0.8)
    with Run.open(folder, beside=True) as run:
        run.annotators.enroll("ann")
        filed = work_off(
            run.questions, person, episode_of=run.episode, scenario=scenario, limit=limit
        )
    for label in filed:
        say(str(label.id))


def outcome(folder: Path) -> dict[str, Any]:
    """Return all that a run came to; two that did the same have the same.

    Raises:
        AssertionError: something is wrong with it.
    """
    with Run.open(folder, readonly=True) as run:
        problems = validate(run)
        assert problems == [], problems
        return {**digest(run), "summary": json.loads((folder / "summary.json").read_text())}
