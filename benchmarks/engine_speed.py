"""Turns per second of the rollout engine with full transcripts written to SQLite.

Stub agents stand in for transformers. Red-team with two critics and two refinements (about
nine calls an episode, as in the three-role, three-round figure of Inspect) is played through
`Rollouts.record` into the `EpisodeWriter`; the clock stops when the last episode is on disk.

`engine_turns_per_s` is what the engine makes of the machine: one process for every core
that it may use plays (``executor=Processes()``), the benchmark's own one writes.
`engine_one_process_turns_per_s` is the same without other processes.

Turns a second depend on the machine, and on what else it does. So TextArena's LLM-wrapped
Kuhn poker, which keeps no transcript, is driven between the repeats, in one process;
`engine_over_textarena_wrapped` is the median ratio of one process to its neighbour. On the
machine on which the goal of 30,000 turns/s was set that peer made 46,700: a ratio of 0.64.

Usage: python benchmarks/engine_speed.py [--quick] [--episodes N] [--repeats N] [--workers N]
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Literal

from kuhn_poker import kuhn_poker
from stub import Stub
from timing import last_line, ratio, table

import superalign_env
from superalign_env import Processes, Rollouts
from superalign_env.store import EpisodeWriter, Run

_SLICE = 2000
"""Turns of the peer between two looks at the clock."""


def measure(
    folder: Path, episodes: int, *, run: int, executor: Processes | Literal["local"]
) -> tuple[float, int]:
    """Return turns per second of wall time, disk included, and the turns played."""
    scenario = superalign_env.make_scenario("red-team", critics=2, refine=2)
    agents = dict.fromkeys(scenario.seats, Stub())
    with Run.create(folder, kind="benchmark", config={}, seed=run) as record:
        begin = time.perf_counter()
        writer = EpisodeWriter(record)
        rollouts = Rollouts(scenario, agents, run=run, sinks=[writer], executor=executor)
        assert rollouts.record(episodes) == episodes
        writer.flush()
        seconds = time.perf_counter() - begin
        writer.close()
        # From what is on disk: neither a turn that was not written counts, nor this reading.
        turns = int(record.database.value("SELECT count(*) FROM utterances"))
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
    parser.add_argument(
        "--workers", type=int, help="processes that play; one for every core"
    )
    options = parser.parse_args()
    episodes = options.episodes or (2_000 if options.quick else 20_000)
    repeats = options.repeats or 11
    several: list[float] = []
    alone: list[float] = []
    peers: list[float] = []
    rows: list[tuple[str, ...]] = []
    with tempfile.TemporaryDirectory() as folder, Processes(options.workers) as processes:
        # Whoever plays many rollouts starts the processes once: so that is not measured.
        measure(Path(folder) / "warm", 200, run=repeats, executor=processes)
        for i in range(repeats):
            rate, _ = measure(
                Path(folder) / f"several-{i}", episodes, run=i, executor=processes
            )
            several.append(rate)
            rate, turns = measure(
                Path(folder) / f"alone-{i}", episodes, run=i, executor="local"
            )
            alone.append(rate)
            peers.append(peer(turns / rate))
            numbers = (turns, several[-1], alone[-1], peers[-1])
            rows.append((str(i), *[f"{number:,.0f}" for number in numbers]))
    table(
        f"red-team with recorded ids and log-probs, written to SQLite "
        f"({processes.workers} processes that play, or none beside the writer's)",
        rows,
        ("repeat", "turns", "turns/s", "one process", "textarena"),
    )
    last_line(
        {
            "engine_turns_per_s": statistics.median(several),
            "engine_one_process_turns_per_s": statistics.median(alone),
            "engine_over_textarena_wrapped": ratio(alone, peers),
        }
    )


if __name__ == "__main__":
    main()
