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
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from killing import ASKS, Ended, Mishap, Say, Worker, answer, opened_up, outcome, train
from timing import table

from superalign_env.errors import RecordError
from superalign_env.report import write_report
from superalign_env.store import Run, begun, validate
from superalign_training.cli.forks import fork

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
    "rounds": 1,
    "budget": 0.5,
    "people": {"mode": "wait", "kinds": {"label": 2, "veto": 1}},
    "evaluate": SELF_PLAY["evaluate"],
}
"""The run stands still until its questions are answered."""

_PER_RUN = 6
"""Kills of one run before it is left alone and compared."""

_PATIENCE = 300.0
"""Seconds after which a process hangs."""


@dataclass
class Tally:
    """What came of one scene."""

    runs: int = 0
    kills: int = 0
    lost: int = 0
    differing: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    broke: list[str] = field(default_factory=list)

    def note(self, ended: Ended) -> Ended:
        """Count how a process ended."""
        self.kills += ended.how == "killed"
        if ended.how == "refused":
            self.refused[_reason(ended.why)] += 1
        if ended.how == "broke":
            self.broke.append(ended.why)
        return ended

    def compare(self, folder: Path, expected: Mapping[str, Any]) -> None:
        """Compare what a run came to with what it should."""
        self.runs += 1
        try:
            found: Mapping[str, Any] = outcome(folder)
        except (AssertionError, OSError, RecordError) as error:
            found = {"broken": str(error)}
        if found != expected:
            self.differing += 1
            parts = [
                key for key in {**found, **expected} if found.get(key) != expected.get(key)
            ]
            print(f"  {folder} differs in {parts}: {found.get('broken', '')}", flush=True)


class Accepted:
    """What a record has accepted, from look to look: it may only grow."""

    def __init__(self, folder: Path, tally: Tally) -> None:
        self._folder, self._tally = folder, tally
        self._rows: set[Any] = set()

    def look(self) -> None:
        """Count what is no longer there."""
        rows = set(_accepted(self._folder))
        self._tally.lost += len(self._rows - rows)
        self._rows = rows


def _accepted(folder: Path) -> Iterator[Any]:
    if not begun(folder):
        return
    with Run.open(folder, readonly=True) as run:
        for stage in run.stages.all(status="done"):
            yield stage.id, json.dumps(stage.outputs, sort_keys=True)
            yield from (("episode", name) for name in run.episode_ids(stage=stage.id))
            rows = run.metrics.read(stage=stage.id)
            yield from ((stage.id, n, repr(row.metric)) for n, row in enumerate(rows))
        yield from (("signal", repr(signal)) for signal in run.signals.read())


def _reason(why: str) -> str:
    """Return a refusal without what is different every time."""
    short = re.sub(r"(/\S+/)+\S*|pid \d+ on \S+|\d+", "…", why)
    return re.split(r"[;:] ", short, maxsplit=2)[0] + ": " + short.partition(": ")[2][:60]


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
        self.tallies: dict[str, Tally] = {}

    def tally(self, scene: str) -> Tally:
        """Return the counts of a scene."""
        return self.tallies.setdefault(scene, Tally())

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
            return Mishap(at=self._random.randint(1, max(1, operations // 2))), _PATIENCE
        return Mishap(), self._random.uniform(0.01, 1.5)

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
        tally: Tally,
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

    def answered(self, folder: Path, mishap: Mishap = Mishap()) -> Worker:
        """Return a process that answers all that a run asks, or dies before."""
        return Worker(answer, PEOPLE, folder, None, folder=folder, mishap=mishap)

    def asked(self, tally: Tally, kills: int, folder: Path) -> None:
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
        tally = Tally()
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
        settings = {**CHAIN}

        def made(folder: Path, mishap: Mishap = Mishap()) -> Ended:
            return Worker(forked, source, folder, folder=folder, mishap=mishap).wait(
                _PATIENCE
            )

        whole = self.folder()
        operations = made(whole).operations
        assert Worker(train, settings, whole, folder=whole).wait(_PATIENCE).how == "done"
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
            self.finish(tally, settings, folder, expected)

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
        self.mishaps("full disk", lambda: Mishap(pages=choose(45, 400)), tries)
        self.mishaps("short memory", lambda: Mishap(memory=choose(1, 64) * mib), tries)
        self.mishaps("clock jumps", lambda: Mishap(clock=choose(1, 1 << 30)), tries)
        operations = self.whole(SELF_PLAY)[2]
        self.mishaps("no permission", lambda: Mishap(shut=choose(1, operations)), tries)

    def together(self, tries: int) -> None:
        """Let a second trainer try, whose way in somebody cleared, and copy a run at work."""
        tally = self.tally("two trainers, a copy")
        _, expected, operations = self.whole(SELF_PLAY)
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


def say(tallies: Mapping[str, Tally]) -> None:
    """Print what broke, the table and the line."""
    refused: Counter[str] = Counter()
    for tally in tallies.values():
        refused += tally.refused
        for why in tally.broke:
            print(why)
    table(
        "runs that met bad luck, against runs that were left alone",
        [
            (
                scene,
                *map(str, (t.runs, t.kills, t.lost, t.differing, t.refused.total())),
                str(len(t.broke)),
            )
            for scene, t in tallies.items()
        ],
        ("scene", "runs", "kills", "lost", "differing", "refused", "broke"),
    )
    totals = {
        name: sum(getattr(tally, name) for tally in tallies.values())
        for name in ("kills", "lost", "differing")
    }
    totals["broke"] = sum(len(tally.broke) for tally in tallies.values())
    print(json.dumps({**totals, "refused": dict(refused)}))


if __name__ == "__main__":
    main()
