"""Alterations of a finished run, and those that `superalign validate` misses.

Small runs of every kind are made: a chain of two generations with a league and answers of people,
a fork of it, a recording with hazards and leased questions, an experiment; and what processes
leave that are killed in a run, or in one that was stopped and resumed. Each alteration is
applied to a fresh copy of one of them. `validate` has to end with an error, print no traceback,
and name the table or file that was altered. No alteration writes hashes anew: such an editor is
found by the digest alone (docs/record.md).

Beside them stand operations that alter nothing that was measured, of which `validate` must not
complain (`false_alarms`), and what it does not see by design, each with its reason and a check
that it is harmless, or that the digest finds it (`harmful`).

Usage: python benchmarks/alterations.py [--quick] [--only WORD]
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from altered_bytes import alterations_of_bytes
from altered_files import alterations_of_files, alterations_of_folder
from altered_rows import Alteration, NothingChanged, alterations_of_rows
from altered_schemas import alterations_of_schema
from altered_sealed import alterations_of_left
from altered_together import combined_edits
from finished_runs import LEFT, Answer, command, finished_runs
from harmless import BY_DESIGN, HARMLESS, Harmless
from timing import table

from superalign_env.errors import RecordError
from superalign_env.store import examine

REAL_COMMANDS = 3
"""Alterations that are also shown to the real command, in a process of its own."""


class Outcome(NamedTuple):
    """Answer of `validate` to an alteration."""

    alteration: Alteration
    answer: Answer

    @property
    def noticed(self) -> bool:
        """Whether it said that something is wrong."""
        return self.answer.code != 0

    @property
    def named(self) -> bool:
        """Whether it named what was altered."""
        return any(word in self.answer.text for word in self.alteration.says)

    @property
    def said(self) -> str:
        """The first problem, or the only line."""
        lines = self.answer.traceback.splitlines() or self.answer.text.splitlines() or [""]
        return " ".join(lines[0].split())[:90]


def all_alterations(runs: dict[str, Path], *, quick: bool) -> Iterator[Alteration]:
    """Yield every alteration, those of the chain first."""
    yield from combined_edits("chain")
    yield from alterations_of_schema("chain")
    yield from alterations_of_folder("chain", runs)
    yield from alterations_of_bytes("chain", runs)
    for name in LEFT:
        yield from alterations_of_left(name)
    for name, folder in runs.items():
        if name in LEFT:
            continue
        rows = alterations_of_rows(name, folder, quick=quick)
        share = {"recording": 2, "fork": 18}.get(name, 6) if quick else 1
        yield from (a for n, a in enumerate(rows) if n % share == 0 or "its hash" in a.name)
        if name != "fork":
            yield from alterations_of_files(name, folder, quick=quick)


def tried(
    alterations: Sequence[Alteration], runs: dict[str, Path]
) -> tuple[list[Outcome], list[str]]:
    """Return what was said of each, and the names of those that had nothing to change."""
    outcomes, idle = [], []
    for alteration in alterations:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / alteration.run
            shutil.copytree(runs[alteration.run], copy, symlinks=True)
            try:
                alteration.alter(copy)
            except NothingChanged:
                idle.append(alteration.name)
                continue
            outcomes.append(Outcome(alteration, examined(copy)))
    return outcomes, idle


def examined(folder: Path) -> Answer:
    """Return what `validate` would say of a run, without a table around it."""
    try:
        problems = examine(folder).problems
    except RecordError as error:
        return Answer(1, str(error))
    except Exception as error:
        return Answer(1, "", f"{type(error).__name__}: {error}")
    said = [" ".join((problem.kind, problem.what, problem.advice)) for problem in problems]
    return Answer(1 if said else 0, "\n".join(said))


def by_the_real_command(alterations: Sequence[Alteration], runs: dict[str, Path]) -> int:
    """Return how many of some alterations the installed command does not notice."""
    unnoticed = 0
    for alteration in alterations:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / alteration.run
            shutil.copytree(runs[alteration.run], copy, symlinks=True)
            alteration.alter(copy)
            done = subprocess.run(
                [sys.executable, "-m", "superalign_env", "validate", str(copy)],
                capture_output=True,
                text=True,
                check=False,
            )
            unnoticed += done.returncode == 0 or "Traceback" in done.stdout + done.stderr
    return unnoticed


def without_alarm(
    operations: Sequence[Harmless], runs: dict[str, Path]
) -> list[tuple[str, ...]]:
    """Return a row for each operation: what it is, what `validate` said, why it does no harm."""
    rows: list[tuple[str, ...]] = []
    unaltered = {name: _read(runs[name]) for name in {one.run for one in operations}}
    for operation in operations:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / operation.run
            shutil.copytree(runs[operation.run], copy, symlinks=True)
            moved = operation.do(copy) or copy
            answer = command("validate", str(moved))
            same = _read(moved) == unaltered[operation.run]
            passed = not answer.code and not answer.traceback
            rows.append(
                (
                    operation.name,
                    "passes" if passed else "ALARM: " + " ".join(answer.text.split())[:120],
                    "same" if same else "other",
                    operation.why
                    if same is operation.same_digest
                    else "NOT SO: " + operation.why,
                )
            )
    return rows


def _read(folder: Path) -> list[str]:
    """Return what somebody who reads a run is told."""
    said = [command(verb, str(folder), "--json").text for verb in ("digest", "show", "ls")]
    return [_LEASED.sub("", text) for text in said]


_LEASED = re.compile(r'"leased":\s*\d+')
"""A lease runs out by itself."""


def report(outcomes: Sequence[Outcome], idle: Sequence[str]) -> dict[str, int]:
    """Print what was said of each alteration; return the counts."""
    rows = [
        (
            f"{o.alteration.run}: {o.alteration.name}",
            ("yes" if o.named else "yes, elsewhere") if o.noticed else "NO",
            o.said,
        )
        for o in outcomes
    ]
    table("alterations", rows, ("alteration", "noticed", "first problem"))
    print(f"\n{len(idle)} kinds of change had nothing to change in their column\n")
    return {
        "alterations": len(outcomes),
        "unnoticed": sum(not o.noticed for o in outcomes),
        "tracebacks": sum(bool(o.answer.traceback) for o in outcomes),
        "misnamed": sum(o.noticed and not o.named for o in outcomes),
    }


def main() -> None:
    """Alter, print the tables, print the line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="fewer columns, under a minute"
    )
    parser.add_argument("--only", default="", help="alterations whose name holds this")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = finished_runs(Path(folder))
        chosen = [
            a for a in all_alterations(runs, quick=options.quick) if options.only in a.name
        ]
        counts = report(*tried(chosen, runs))
        counts["unnoticed"] += by_the_real_command(chosen[:REAL_COMMANDS], runs)
        operations = without_alarm(HARMLESS, runs)
        hidden = without_alarm(BY_DESIGN, runs)
    head = ("operation", "validate", "digest", "why")
    table("operations that alter nothing", operations, head)
    print()
    table("alterations that validate does not see by design", hidden, head)
    counts["false_alarms"] = sum(row[1] != "passes" for row in operations)
    counts["harmful"] = sum(
        row[3].startswith("NOT SO") for row in chain(operations, hidden)
    )
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
