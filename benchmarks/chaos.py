"""Whether a run that meets bad luck ends as one that did not, or says why not.

Training, a chain of generations, people who answer, forks and readers are killed at random
operations and at random times, again and again, and go on. Then disks fill up, memory ends,
clocks jump, folders are copied while they are written, and a second trainer wants in. In the
end every run must have come to the same, hash by hash, as one that was left alone, and
nothing that was accepted (finished stages, signals) may be missing.

Usage: python benchmarks/chaos.py [--quick] [--kills N] [--mishaps N] [--seed S]
"""

import argparse
import json
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from killing import (
    ASKS,
    CHAIN,
    NONE,
    PEOPLE,
    SELF_PLAY,
    Ended,
    Mishap,
    Say,
    Worker,
    answer,
    opened_up,
    outcome,
    train,
)
from tally import Accepted, SceneCounts, say

from superalign_env.report import write_report
from superalign_env.store import Run, validate
from superalign_training.cli.forks import fork

_PER_RUN = 6
"""Kills of one run before it is left alone and compared."""

_PATIENCE = 300.0
"""Seconds after which a process hangs."""


# --- jobs


def forked(source: Path, folder: Path, say: Say) -> None:
    """Fork a run after its first generation."""
    fork(source, folder, at=1)


def reading(folder: Path, page: Path, say: Say) -> None:
    """Do what readers do."""
    with Run.open(folder, readonly=True) as run:
        validate(run)
        list(run.episodes())
    write_report(folder, out=page)


# --- scenes


class Scenes:
    """All scenes of one session, on runs in one folder.

    Args:
        base: of all runs.
        seed: of every choice.
    """

    def __init__(self, base: Path, seed: int) -> None:
        self._base = base
        self._random = random.Random(seed)
        self._number = 0
        self._whole: dict[str, tuple[Path, dict[str, Any], int]] = {}
        self.tallies: dict[str, SceneCounts] = {}

    def tally(self, scene: str) -> SceneCounts:
        """Return the counts of a scene."""
        return self.tallies.setdefault(scene, SceneCounts())

    def folder(self) -> Path:
        """Return the folder of the next run."""
        self._number += 1
        return self._base / f"run-{self._number}"

    def whole(self, settings: Mapping[str, Any]) -> tuple[Path, dict[str, Any], int]:
        """Return folder, outcome and operations of a run that was left alone."""
        key = json.dumps(settings, sort_keys=True)
        if key not in self._whole:
            folder = self.folder()
            ended = Worker(train, settings, folder, folder=folder).wait(_PATIENCE)
            assert ended.how == "done", ended
            self._whole[key] = folder, outcome(folder), ended.operations
        return self._whole[key]

    def moment(self, operations: int) -> tuple[Mishap, float]:
        """Return when the next kill comes: at an operation, or after some time."""
        if self._random.random() < 0.7:
            return Mishap(at=self._random.randint(1, max(1, operations // 4))), _PATIENCE
        return NONE, self._random.uniform(0.01, 1.5)

    def killed(self, scene: str, settings: Mapping[str, Any], kills: int) -> None:
        """Kill a run again and again."""
        tally = self.tally(scene)
        _, expected, operations = self.whole(settings)
        while tally.kills < kills:
            folder = self.folder()
            accepted = Accepted(folder, tally)
            for _ in range(min(_PER_RUN, kills - tally.kills)):
                mishap, seconds = self.moment(operations)
                worker = Worker(train, settings, folder, folder=folder, mishap=mishap)
                if tally.note(worker.wait(seconds)).how != "killed":
                    break
                accepted.look()
            self.finish(tally, settings, folder, expected, accepted)

    def finish(
        self,
        tally: SceneCounts,
        settings: Mapping[str, Any],
        folder: Path,
        expected: Mapping[str, Any],
        accepted: Accepted | None = None,
    ) -> None:
        """Let a run go on to its end, and compare it."""
        ended = Worker(train, settings, folder, folder=folder).wait(_PATIENCE)
        if tally.note(ended).how != "refused":
            tally.compare(folder, expected)
        if accepted is not None:
            accepted.look()
        shutil.rmtree(folder, ignore_errors=True)

    def answered(self, folder: Path, mishap: Mishap = NONE) -> Worker:
        """Return a process that answers all that a run asks, or dies before."""
        return Worker(answer, PEOPLE, folder, None, folder=folder, mishap=mishap)

    def asked(self, tally: SceneCounts, kills: int, folder: Path) -> None:
        """Kill trainers that wait and people who answer, and let them go on to the end."""
        accepted = Accepted(folder, tally)
        until = tally.kills + kills
        while True:
            worker = Worker(train, PEOPLE, folder, folder=folder)
            with suppress(AssertionError):  # nothing is asked any more
                worker.until(ASKS)
            while tally.kills < until:
                tally.note(self.answered(folder, self.moment(60)[0]).wait(_PATIENCE))
                accepted.look()
                if tally.kills < until and self._random.random() < 0.5:
                    tally.note(worker.kill())
                    accepted.look()
                    break
            else:
                while worker.process.is_alive():
                    tally.note(self.answered(folder).wait(_PATIENCE))
                    worker.process.join(0.2)
                tally.note(worker.wait(_PATIENCE))
                accepted.look()
                return

    def people(self, kills: int) -> None:
        """Kill a run that waits for people, and those who answer."""
        tally = SceneCounts()
        whole = self.folder()
        self.asked(tally, 0, whole)
        expected = outcome(whole)
        tally = self.tally("people who answer")
        while tally.kills < kills:
            folder = self.folder()
            self.asked(tally, min(_PER_RUN, kills - tally.kills), folder)
            tally.compare(folder, expected)

    def forks(self, kills: int) -> None:
        """Kill what forks a run."""
        tally = self.tally("fork")
        source, _, _ = self.whole(CHAIN)

        def made(folder: Path, mishap: Mishap = NONE) -> Ended:
            return Worker(forked, source, folder, folder=folder, mishap=mishap).wait(
                _PATIENCE
            )

        whole = self.folder()
        operations = made(whole).operations
        assert Worker(train, CHAIN, whole, folder=whole).wait(_PATIENCE).how == "done"
        expected = outcome(whole)
        while tally.kills < kills:
            folder = self.folder()
            for _ in range(min(_PER_RUN, kills - tally.kills)):
                if (
                    tally.note(
                        made(folder, Mishap(at=self._random.randint(1, operations)))
                    ).how
                    == "done"
                ):
                    break
            if not (folder / "run.db").exists():
                tally.note(made(folder))
            self.finish(tally, CHAIN, folder, expected)

    def readers(self, kills: int) -> None:
        """Kill what reads a run and draws its page."""
        tally = self.tally("validate, report")
        source, expected, _ = self.whole(SELF_PLAY)
        page = self._base / "page.html"
        write_report(source, out=page)
        drawn = page.read_bytes()
        before = _files(source)
        while tally.kills < kills:
            seconds = self._random.uniform(0.01, 0.6)
            tally.note(Worker(reading, source, page, folder=source).wait(seconds))
            tally.lost += page.read_bytes() != drawn
        tally.compare(source, expected)
        tally.lost += _files(source) != before

    def mishaps(self, scene: str, draw: Callable[[], Mishap], tries: int) -> None:
        """Let something befall a run, and let it go on without."""
        tally = self.tally(scene)
        _, expected, _ = self.whole(SELF_PLAY)
        for _ in range(tries):
            folder = self.folder()
            accepted = Accepted(folder, tally)
            worker = Worker(train, SELF_PLAY, folder, folder=folder, mishap=draw())
            tally.note(worker.wait(_PATIENCE))
            if folder.exists():
                opened_up(folder)
            accepted.look()
            self.finish(tally, SELF_PLAY, folder, expected, accepted)

    def unlucky(self, tries: int) -> None:
        """Full disks, quotas, short memory, clocks, folders without permission."""
        choose, mib = self._random.randint, 1 << 20
        self.mishaps("quota", lambda: Mishap(file_bytes=choose(1, 1024) << 10), tries)
        pages = (self.whole(SELF_PLAY)[0] / "run.db").stat().st_size // 4096
        self.mishaps("full disk", lambda: Mishap(pages=choose(45, pages)), tries)
        self.mishaps("short memory", lambda: Mishap(memory=choose(1, 64) * mib), tries)
        self.mishaps("clock jumps", lambda: Mishap(clock=choose(1, 1 << 30)), tries)
        operations = self.whole(SELF_PLAY)[2]
        self.mishaps("no permission", lambda: Mishap(shut=choose(1, operations)), tries)

    def together(self, tries: int) -> None:
        """Let a second trainer try, whose way in somebody cleared, and copy a run at work."""
        tally = self.tally("two trainers, a copy")
        _, expected, _ = self.whole(SELF_PLAY)
        for _ in range(tries):
            folder, copy = self.folder(), self.folder()
            first = Worker(train, SELF_PLAY, folder, folder=folder)
            first.until("done")
            (folder / "run.lock").unlink()
            second = Worker(train, SELF_PLAY, folder, folder=folder).wait(_PATIENCE)
            if tally.note(second).how != "refused":
                tally.broke.append(f"a second trainer was let in: {second}")
            with suppress(shutil.Error, OSError):  # files come and go meanwhile
                shutil.copytree(folder, copy)
            tally.note(first.wait(_PATIENCE))
            tally.compare(folder, expected)
            self.finish(tally, SELF_PLAY, copy, expected)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def main() -> None:
    """Let it happen, print the table, print the line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute: 20 kills")
    parser.add_argument("--kills", type=int, default=0, help="in all; 220, or 20")
    parser.add_argument("--mishaps", type=int, default=-1, help="of each kind; 8, or none")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    kills = options.kills or (20 if options.quick else 220)
    tries = options.mishaps if options.mishaps >= 0 else (0 if options.quick else 8)
    with tempfile.TemporaryDirectory(prefix="superalign-chaos-") as base:
        # What runs measured of this machine would differ from the user's, and last.
        os.environ["SUPERALIGN_CACHE"] = f"{base}/cache"
        scenes = Scenes(Path(base), options.seed)
        fifth = max(1, kills // 5)
        scenes.killed("training", SELF_PLAY, kills - 4 * fifth)
        scenes.killed("chain", CHAIN, fifth)
        scenes.people(fifth)
        scenes.forks(fifth)
        scenes.readers(fifth)
        if tries:
            scenes.unlucky(tries)
            scenes.together(tries)
    say(scenes.tallies)


if __name__ == "__main__":
    main()
