"""Odd inputs for everything that enters: crashes, hangs, and peak memory.

Hypothesis makes inputs of seven kinds: replies, tool calls, PettingZoo actions, verdicts,
rows of files, overrides of ``superalign train`` and bodies of endpoints. Each is given to what
takes it in. An input may be refused in words (`SuperalignError`, or the error that a parser
documents); it must not raise anything else, and what is taken must come back from the record
as it was. Every kind runs in a process of its own: one that stays with an input for more than
ten seconds is a hang.

With atheris installed (pip install 'superalign-env[fuzz]', Linux) the parsers of texts are
also fuzzed by coverage. What is found is kept in ``--keep FOLDER``; put it into
tests/system/corpus, where it is tried ever after.

Usage: python benchmarks/fuzz.py [--quick] [--inputs N] [--seed N] [--kind KIND] [--keep FOLDER]
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import HealthCheck, Phase, given, seed, settings
from odd_inputs import KINDS
from timing import peak_mib, table

_HANG = 10.0
"""Seconds with one input, after which it is a hang."""

_MEMORY = 8 << 30
"""Bytes of address space of a process; beyond them MemoryError is a crash."""

_TEXTS = ("action", "verdict", "endpoint")
"""Kinds whose inputs are texts, for a fuzzer that knows bytes."""


class KindCounts(NamedTuple):
    """Counts of one kind of input."""

    inputs: int
    crashes: list[tuple[Any, str]]
    """Input and error; each kind of error once."""
    hangs: list[Any]
    """Inputs."""
    peak_mib: float


class _Journal:
    """Inputs that are tried, in a file that is there also after the end of the process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inputs = 0
        self._crashes: dict[str, Any] = {}

    def attempt(self, kind: str, value: Any) -> None:
        """Try an input, and keep it where it breaks something."""
        self._inputs += 1
        self._write(value)
        try:
            KINDS[kind].attempt(value)
        except Exception as error:  # that is what is looked for
            self._crashes.setdefault(f"{type(error).__name__}: {error}"[:200], value)

    def close(self) -> None:
        """Write that all inputs have been tried."""
        self._write(None, done=True)

    def _write(self, value: Any, *, done: bool = False) -> None:
        entry = {
            "done": done,
            "inputs": self._inputs,
            "crashes": [(value, why) for why, value in self._crashes.items()],
            "now": value,
            "peak": peak_mib(),
        }
        part = self._path.with_suffix(".part")
        part.write_text(json.dumps(entry))
        part.replace(self._path)


def _child(kind: str, inputs: int, first: int, path: Path, *, covered: bool) -> None:
    """Try inputs of a kind: main function of another process."""
    import resource  # noqa: PLC0415 - not on Windows

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    journal = _Journal(path)
    if covered:
        _by_coverage(kind, inputs, first, journal)
        return

    @seed(first)
    @settings(
        max_examples=inputs,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(KINDS[kind].inputs)
    def attempts(value: Any) -> None:
        journal.attempt(kind, value)

    attempts()
    journal.close()


def _by_coverage(kind: str, inputs: int, first: int, journal: _Journal) -> None:
    """Let atheris look for texts that reach new code."""
    import atheris  # type: ignore[import-untyped]  # noqa: PLC0415 - [fuzz] alone

    atheris.instrument_all()
    left = inputs

    def attempt(data: bytes) -> None:
        nonlocal left
        journal.attempt(kind, data.decode("utf-8", "surrogateescape"))
        left -= 1
        if not left:
            journal.close()

    atheris.Setup([sys.argv[0], f"-runs={inputs}", f"-seed={first + 1}"], attempt)
    atheris.Fuzz()


def run(kind: str, inputs: int, first: int, *, covered: bool = False) -> KindCounts:
    """Try inputs of a kind in a process of their own.

    Args:
        kind: one of `odd_inputs.KINDS`.
        inputs: how many.
        first: seed.
        covered: whether atheris makes them.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.json"
        command = [sys.executable, __file__, "--child", str(path), "--kind", kind]
        command += ["--inputs", str(inputs), "--seed", str(first)]
        with subprocess.Popen(
            [*command, *(["--covered"] if covered else [])],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            hangs = _watch(process, path)
            stderr = process.stderr.read() if process.stderr is not None else ""
        entry: dict[str, Any] = {"done": False}
        if path.exists():
            entry = json.loads(path.read_text())
    crashes = [(value, why) for value, why in entry.get("crashes", [])]
    if not entry["done"] and not hangs:
        died = f"the process ended with {process.returncode}: {stderr[-300:]}"
        crashes.append((entry.get("now"), died))
    return KindCounts(entry.get("inputs", 0), crashes, hangs, entry.get("peak", 0.0))


def _watch(process: "subprocess.Popen[str]", path: Path) -> list[Any]:
    """Wait for a process; end it where it stays with one input, which is returned."""
    patience = 6 * _HANG  # it imports first
    changed, seen = time.monotonic(), 0.0
    while process.poll() is None:
        time.sleep(0.05)
        written = path.stat().st_mtime if path.exists() else 0.0
        if written != seen:
            changed, seen, patience = time.monotonic(), written, _HANG
        elif time.monotonic() - changed > patience:
            process.kill()
            return [json.loads(path.read_text())["now"] if path.exists() else None]
    return []


def _keep(folder: Path, kind: str, found: Sequence[Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{kind}.json"
    known = json.loads(path.read_text()) if path.exists() else []
    new = [value for value in found if value not in known]
    path.write_text(json.dumps([*known, *new], indent=1) + "\n")


def main() -> None:
    """Try, print the table, print the line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute")
    parser.add_argument("--inputs", type=int, default=0, help="of the cheapest kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=[*KINDS])
    parser.add_argument("--keep", type=Path, help="folder for what is found")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--covered", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    inputs = options.inputs or (400 if options.quick else 50_000)
    if options.child:
        _child(options.kind, inputs, options.seed, options.child, covered=options.covered)
        return
    has_atheris = importlib.util.find_spec("atheris") is not None
    outcomes: dict[str, KindCounts] = {}
    for kind in [options.kind] if options.kind else KINDS:
        some = max(1, inputs // KINDS[kind].cost)
        outcomes[kind] = run(kind, some, options.seed)
        if has_atheris and kind in _TEXTS:
            outcomes[f"{kind}-by-coverage"] = run(kind, some, options.seed, covered=True)
    rows = [
        (
            kind,
            f"{o.inputs:,}",
            str(len(o.crashes)),
            str(len(o.hangs)),
            f"{o.peak_mib:,.0f}",
        )
        for kind, o in outcomes.items()
    ]
    by = (
        "Hypothesis and atheris" if has_atheris else "Hypothesis (atheris is not installed)"
    )
    head = ("kind", "inputs", "crashes", "hangs", "peak MiB")
    table(f"odd inputs by {by}, seed {options.seed}", rows, head)
    for kind, outcome in outcomes.items():
        found = [*outcome.crashes, *[(value, "hang") for value in outcome.hangs]]
        for value, why in found:
            print(f"{kind}: {why}\n  {json.dumps(value)[:500]}")
        if options.keep and found:
            _keep(options.keep, kind.partition("-")[0], [value for value, _ in found])
    print(
        json.dumps(
            {
                "inputs": {kind: o.inputs for kind, o in outcomes.items()},
                "crashes": sum([len(o.crashes) for o in outcomes.values()]),
                "hangs": sum([len(o.hangs) for o in outcomes.values()]),
                "peak_memory_mb": round(
                    max([o.peak_mib for o in outcomes.values()]) * 1.048576
                ),
            }
        )
    )


if __name__ == "__main__":
    main()
