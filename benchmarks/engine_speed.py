"""Turns per second of the rollout engine with full transcripts written to SQLite.

Stub agents stand in for transformers. Red-team with two critics and two refinements (about
nine calls an episode, as in the three-role, three-round figure of Inspect) is played through
`Rollouts` into the `EpisodeWriter`; the clock stops when the last episode is on disk.

Turns a second depend on the machine, and on what else it does. So TextArena's LLM-wrapped
Kuhn poker, which keeps no transcript, is driven between the repeats for the same time;
`engine_over_textarena_wrapped` is the median ratio of neighbours. On the machine on which
the goal of 30,000 turns/s was set that peer made 46,700: a ratio of 0.64.

Usage: python benchmarks/engine_speed.py [--quick] [--episodes N] [--repeats N]
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from kuhn_poker import kuhn_poker
from stub import Stub
from timing import last_line, ratio, table

import superalign_env
from superalign_env.store import EpisodeWriter, Run

_SLICE = 2000
"""Turns of the peer between two looks at the clock."""


def measure(folder: Path, episodes: int, *, run: int) -> tuple[float, int]:
    """Return turns per second of wall time, disk included, and the turns played."""
    scenario = superalign_env.make_scenario("red-team", critics=2, refine=2)
    agents = dict.fromkeys(scenario.seats, Stub())
    with Run.create(folder, kind="benchmark", config={}, seed=run) as record:
        begin = time.perf_counter()
        writer = EpisodeWriter(record)
        rollouts = superalign_env.Rollouts(scenario, agents, run=run, sinks=[writer])
        turns = sum([len(e.utterances) for e in rollouts.stream(episodes)])
        writer.flush()
        seconds = time.perf_counter() - begin
        writer.close()
    return turns / seconds, turns


def peer(seconds: float) -> float:
    """Return turns per second of wall time of TextArena's game, over about so long."""
    begin, turns = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        turns += kuhn_poker(_SLICE)
    return turns / (time.perf_counter() - begin)


def main() -> None:
    """Measure, print the table, print the line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute")
    parser.add_argument("--episodes", type=int, default=0, help="episodes of one repeat")
    parser.add_argument("--repeats", type=int, default=0)
    options = parser.parse_args()
    episodes = options.episodes or (2_500 if options.quick else 25_000)
    repeats = options.repeats or 15
    rates: list[float] = []
    peers: list[float] = []
    rows: list[tuple[str, ...]] = []
    with tempfile.TemporaryDirectory() as folder:
        for i in range(repeats):
            rate, turns = measure(Path(folder) / f"run-{i}", episodes, run=i)
            rates.append(rate)
            peers.append(peer(turns / rate))
            rows.append((str(i), f"{turns:,}", f"{rate:,.0f}", f"{peers[-1]:,.0f}"))
    table(
        "red-team with recorded ids and log-probs, written to SQLite",
        rows,
        ("repeat", "turns", "turns/s", "textarena turns/s"),
    )
    last_line(
        {
            "engine_turns_per_s": statistics.median(rates),
            "engine_over_textarena_wrapped": ratio(rates, peers),
        }
    )


if __name__ == "__main__":
    main()
