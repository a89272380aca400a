"""Cost of admission and of seals: engine turns per second with them over those without.

Admission checks replies, rewards and schemas before rules and record see them; without it
only the types of a reply are checked. Seals are the hashes of rows and stages; without them an
episode still carries its own hash. No setting turns them off: their functions are replaced here.

Scripted agents play `red-team` with its default options, and `echo`. A stub that brings token
ids and log-probs plays `red-team`, too. Every game is played with a record in a temporary run,
until the run is closed, and without one.

All contestants of a round take turns in one process, in slices of some milliseconds, forwards
and backwards (A B B A). A round compares the CPU time of their fastest slices, and of the end
of the run; a figure is the median over rounds. Figures without a game's name are of
`red-team`, those without ``memory`` are of a game with a record.

Usage: python benchmarks/record_cost.py [--quick] [--episodes N] [--slices N] [--rounds N]
       [--only TEXT]
"""

import argparse
import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

from stub import Stub
from timing import last_line, table

import superalign_env
from superalign_agents.scripted import RandomMenu, Scripted
from superalign_env import Rollouts
from superalign_env.protocols import Agent
from superalign_env.store import EpisodeWriter, Run, row_hashes, writer
from superalign_env.types import Reply, role_of

Part = frozenset[str]
"""What is left out: admission, seals, both, or nothing."""

WHOLE: Part = frozenset()
ADMISSION, SEALS = frozenset({"admission"}), frozenset({"seals"})
BOTH = ADMISSION | SEALS

_numbers = count(1)
"""Seeds and names of runs: no two slices play the same episodes."""


def has_its_types(reply: object, limit: int) -> bool:
    """Return whether a reply is one, its text a text, and its numbers lie in tuples."""
    return (
        type(reply) is Reply
        and type(reply.text) is str
        and type(reply.prompt_ids) is type(reply.token_ids) is type(reply.logprobs) is tuple
    )


def _insert(connection: Any, statement: str, rows: Any) -> None:
    if statement is not row_hashes.EPISODES:
        _REAL_INSERT(connection, statement, rows)


_REAL_INSERT = writer.insert

REPLACED: dict[str, dict[str, Any]] = {
    "admission": {
        "superalign_env.rollout.live_games.is_plain": has_its_types,
        "superalign_env.game.is_plain": has_its_types,
        "superalign_env.asking.is_plain": has_its_types,
        "superalign_env.game.payable": lambda rewards, scenario: tuple(rewards),
        "superalign_env.game.read_only": lambda schema: schema,
        "superalign_env.game.shared_tools": lambda tools: tools,
    },
    "seals": {
        "superalign_env.store.database.hash_rows": lambda connection: True,
        "superalign_env.store.writer.insert": _insert,
        "superalign_env.store.seals.Seals.add": lambda self, stage="": None,
    },
}
"""Part → the functions of the product that it consists of → what replaces them."""


@contextmanager
def without(parts: Part) -> Iterator[None]:
    """Take parts out of the product for a while."""
    with ExitStack() as stack:
        for part in sorted(parts):
            for name, function in REPLACED[part].items():
                stack.enter_context(patch(name, function))
        yield


def scripted(scenario_id: str) -> tuple[Any, dict[str, Agent]]:
    """Return a scenario with its default options and agents that answer at once."""
    scenario = superalign_env.make_scenario(scenario_id)
    script = Scripted(
        {"learner": ["comply"], "critic": ["score 7 sure 4"], "speaker": ["hello"]}
    )
    seats = dict.fromkeys(scenario.seats, script)
    return scenario, {
        seat: RandomMenu() if role_of(seat) == "attacker" else script for seat in seats
    }


def with_ids(scenario_id: str) -> tuple[Any, dict[str, Agent]]:
    """Return a scenario and agents that bring ids and log-probs, as transformers do."""
    scenario = superalign_env.make_scenario(scenario_id)
    return scenario, dict.fromkeys(scenario.seats, Stub())


GAMES: dict[str, tuple[Callable[[str], Any], str, int]] = {
    "": (scripted, "red-team", 1),
    "ids": (with_ids, "red-team", 1),
    "echo": (scripted, "echo", 3),
}
"""Name in figures → who plays what, and how many of its episodes last as long as one."""


class Contestant:
    """A game that is played without some parts.

    Args:
        game: scenario and agents.
        parts: that are left out.
        folder: where to make a run with the record; without one nothing is kept.
    """

    def __init__(self, game: Any, parts: Part, folder: Path | None) -> None:
        self._scenario, self._agents = game
        self._parts = parts
        self._record: Run | None = None
        self._sinks: list[EpisodeWriter] = []
        self._slices: list[float] = []
        self._closing = 0.0
        if folder is not None:
            with without(parts):
                self._record = Run.create(
                    folder / str(next(_numbers)), kind="benchmark", config={}, seed=0
                )
                self._sinks = [EpisodeWriter(self._record)]

    def play(self, episodes: int) -> None:
        """Play so many; their record is on the disk then."""
        number = next(_numbers)
        with without(self._parts):
            begin = time.process_time()
            rollouts = Rollouts(self._scenario, self._agents, run=number, sinks=self._sinks)
            for _ in rollouts.stream(episodes):
                pass
            for sink in self._sinks:
                sink.flush()
            self._slices.append(time.process_time() - begin)

    def forget(self) -> None:
        """Leave out what was played so far: it made what is made once a run."""
        self._slices.clear()

    @property
    def seconds(self) -> float:
        """CPU time of the whole round, if every slice took as long as the fastest one.

        Beside other work the median of short slices is one of how long they wait for caches.
        """
        return min(self._slices) * len(self._slices) + self._closing

    def close(self) -> None:
        """End the run, which is sealed then."""
        with without(self._parts):
            begin = time.process_time()
            if self._record is not None:
                self._record.close()
            self._closing = time.process_time() - begin


def one_round(
    game: Any, episodes: int, slices: int, contestants: Sequence[Part], recorded: bool
) -> dict[Part, float]:
    """Return contestant → time of the whole product over its own: a ratio of turns/s.

    Args:
        game: scenario and agents.
        episodes: of one slice.
        slices: pairs of them, forwards and backwards.
        contestants: what is left out.
        recorded: whether runs are made for the games.
    """
    gc.collect()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) if recorded else None
        players = [Contestant(game, parts, place) for parts in (WHOLE, *contestants)]
        for player in players:
            player.play(episodes)
            player.forget()
        for _ in range(slices):
            for player in (*players, *reversed(players)):
                player.play(episodes)
        for player in players:
            player.close()
    whole, *others = players
    return {
        parts: other.seconds / whole.seconds
        for parts, other in zip(contestants, others, strict=True)
    }


def main() -> None:
    """Measure, print the table, print the line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute")
    parser.add_argument("--episodes", type=int, default=64, help="red-team's, of one slice")
    parser.add_argument("--slices", type=int, default=0, help="pairs of one round")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--only", default="", help="games whose figures contain this")
    options = parser.parse_args()
    slices = options.slices or (6 if options.quick else 16)
    rounds = options.rounds or (5 if options.quick else 11)
    rows: list[tuple[str, ...]] = []
    figures: dict[str, float] = {}
    for name, (make, scenario_id, factor) in GAMES.items():
        game = make(scenario_id)
        for recorded in (True, False):
            suffix = ("_" + name if name else "") + ("" if recorded else "_memory")
            if options.only not in suffix:
                continue
            contestants = (ADMISSION, SEALS, BOTH) if recorded else (ADMISSION,)
            ratios = [
                one_round(game, options.episodes * factor, slices, contestants, recorded)
                for _ in range(rounds)
            ]
            for parts in contestants:
                values = [ratio[parts] for ratio in ratios]
                what = "both" if parts == BOTH else min(parts)
                figures[f"{what}_ratio{suffix}"] = statistics.median(values)
                where = "record" if recorded else "memory"
                rows.append((f"{scenario_id} {name}", where, what, *spread(values)))
    table(
        f"turns/s with over without, median of {rounds} rounds",
        rows,
        ("game", "kept in", "without", "ratio", "quartiles", "range"),
    )
    last_line(figures)


def spread(values: Sequence[float]) -> tuple[str, str, str]:
    """Return median, quartiles and range of some ratios, for a table."""
    low, middle, high = statistics.quantiles([*values, *values], n=4, method="inclusive")
    return (
        f"{middle:.3f}",
        f"{low:.3f} to {high:.3f}",
        f"{min(values):.3f} to {max(values):.3f}",
    )


if __name__ == "__main__":
    main()
