"""Whether an episode costs the same late in a long run as early in it.

A long and a short run of red-team stream through the engine, each in a process of its own,
with stub agents and a sink that keeps nothing. Time per episode and resident memory of the
long run, over those of the short one, must stay near 1: nothing may pile up.

Usage: python benchmarks/growth.py [--quick] [--short N] [--long N] [--repeats N]
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

from stub import Stub
from timing import last_line, resident_mib, table

import superalign_env

WARM_UP = 500
"""Episodes before the clock starts: caches fill, modules load."""


def measure(episodes: int) -> tuple[float, float]:
    """Return CPU microseconds per episode of a run, and its memory at the end in MiB."""
    scenario = superalign_env.make_scenario("red-team")
    agents = dict.fromkeys(scenario.seats, Stub())
    rollouts = superalign_env.Rollouts(scenario, agents)
    begin = time.process_time()
    for played, _ in enumerate(rollouts.stream(WARM_UP + episodes), 1):
        if played == WARM_UP:
            begin = time.process_time()
    return 1e6 * (time.process_time() - begin) / episodes, resident_mib()


def in_a_process(episodes: int) -> tuple[float, float]:
    """Return what `measure` returns in a fresh process."""
    done = subprocess.run(
        [sys.executable, __file__, "--alone", str(episodes)],
        check=True,
        capture_output=True,
        text=True,
    )
    spent, memory = json.loads(done.stdout)
    return spent, memory


def main() -> None:
    """Measure, print the table, print the line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="under a minute: a shorter run"
    )
    parser.add_argument("--short", type=int, default=1_000, help="episodes")
    parser.add_argument("--long", type=int, default=0, help="episodes")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--alone", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(measure(options.alone)))
        return
    many = options.long or (10_000 if options.quick else 100_000)
    rows = []
    for _ in range(options.repeats):
        rows.append((in_a_process(options.short), in_a_process(many)))
    table(
        f"an episode among {options.short:,} and among {many:,}",
        [
            (
                str(i),
                f"{short[0]:.0f}",
                f"{long[0]:.0f}",
                f"{short[1]:.1f}",
                f"{long[1]:.1f}",
            )
            for i, (short, long) in enumerate(rows)
        ],
        ("repeat", "short µs", "long µs", "short MiB", "long MiB"),
    )
    last_line(
        {
            "time_per_episode_ratio": statistics.median([b[0] / a[0] for a, b in rows]),
            "memory_ratio": statistics.median([b[1] / a[1] for a, b in rows]),
        }
    )


if __name__ == "__main__":
    main()
