"""Counts of what bad luck did to runs: kills, what was lost, what came out otherwise, refusals."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from killing import Ended, outcome
from timing import table

from superalign_env.errors import RecordError
from superalign_env.store import Run, begun


@dataclass
class SceneCounts:
    """Counts of one scene."""

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
    """Rows that a record has accepted, from look to look: they may only grow."""

    def __init__(self, folder: Path, tally: SceneCounts) -> None:
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


def say(tallies: Mapping[str, SceneCounts]) -> None:
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
