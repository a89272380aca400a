"""What the benchmarks share: fair clocks, medians, one table, one line of JSON."""

import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

Slice = Callable[[int], int]
"""Plays at least so many turns and returns how many it played."""


def rate(play: Slice, turns: int) -> float:
    """Return turns per second of CPU time of one slice.

    CPU time, not wall time: other work on the machine would count otherwise.
    """
    before = time.process_time()
    played = play(turns)
    return played / (time.process_time() - before)


def interleaved(
    plays: Mapping[str, Slice], *, turns: int, repeats: int
) -> dict[str, list[float]]:
    """Return the rates of every contestant, slice by slice in turn.

    Whatever slows the machine for a while slows all of them alike.
    """
    for play in plays.values():
        play(turns)
    rates: dict[str, list[float]] = {name: [] for name in plays}
    for _ in range(repeats):
        for name, play in plays.items():
            rates[name].append(rate(play, turns))
    return rates


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median over rounds of the ratio of two rates of the same round."""
    return statistics.median([a / b for a, b in zip(ours, theirs, strict=True)])


def resident_mib() -> float:
    """Return the memory that this process holds now, in MiB (Linux; elsewhere its peak)."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:
        import resource  # noqa: PLC0415 - not on Windows

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def peak_mib() -> float:
    """Return the most memory that this process held, in MiB.

    On Linux it counts from the program's start: what `getrusage` says may be of the process
    that started it.
    """
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            return next(int(x.split()[1]) for x in status if x.startswith("VmHWM")) / 2**10
    except (OSError, StopIteration):
        import resource  # noqa: PLC0415 - not on Windows

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def table(title: str, rows: Sequence[tuple[str, ...]], head: tuple[str, ...]) -> None:
    """Print a table with right-aligned numbers."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    print(title)
    for row in [head, tuple("-" * width for width in widths), *rows]:
        cells = [row[0].ljust(widths[0])]
        cells += [
            cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)
        ]
        print("  " + "  ".join(cells))


def last_line(figures: Mapping[str, float]) -> None:
    """Print the figures as one line of JSON, four significant digits each."""
    print(json.dumps({name: float(f"{value:.4g}") for name, value in figures.items()}))
