"""Live turns per second of the AEC environment beside its peers, in one run.

Red-team is played with its whole loop: attacker, learner, two critics at once, two
refinements. The row with one answer and one critic is there because a short episode pays
more for its reset; it is in no ratio.

Every contestant is driven through its public contract (``last`` and ``step``) with
recorded types; steps of seats whose episode is over do not count. The peers are
PettingZoo's rock-paper-scissors and TextArena's LLM-wrapped Kuhn poker.

Usage: python benchmarks/env_speed.py [--quick] [--turns N] [--repeats N]
"""

import argparse
import statistics
from collections.abc import Callable
from typing import Any

from kuhn_poker import kuhn_poker
from minimal import Minimal
from pettingzoo.classic import rps_v2
from timing import Slice, interleaved, last_line, ratio, table

import superalign_env

CYCLES = 15
"""Simultaneous moves of one episode: what rock-paper-scissors plays."""

Act = Callable[[str, dict[str, Any]], Any]


def aec(env: Any, act: Act) -> Slice:
    """Return a slice that drives an AEC environment."""

    def play(turns: int) -> int:
        played = 0
        while played < turns:
            env.reset()
            while env.agents:
                _, _, terminated, truncated, info = env.last()
                if terminated or truncated:
                    env.step(None)
                else:
                    env.step(act(env.agent_selection, info))
                    played += 1
        return played

    return play


def red_team_action(seat: str, info: dict[str, Any]) -> str:
    """Pass the seed request on, comply, and approve."""
    if seat.startswith("attacker"):
        return str(info["view"].turns[0].text)
    return "comply" if seat.startswith("learner") else "score 7 sure 4"


def main() -> None:
    """Measure, print the table, print the line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute")
    parser.add_argument("--turns", type=int, default=4000, help="turns of one slice")
    parser.add_argument("--repeats", type=int, default=0, help="slices of each contestant")
    options = parser.parse_args()
    repeats = options.repeats or (25 if options.quick else 100)
    rps: Any = rps_v2  # its functions are not annotated
    plays: dict[str, Slice] = {
        "rps raw": aec(rps.raw_env(max_cycles=CYCLES), lambda seat, info: 1),
        "rps wrapped": aec(rps.env(max_cycles=CYCLES), lambda seat, info: 1),
        "minimal raw": aec(
            superalign_env.raw_env(Minimal(CYCLES)), lambda seat, info: "river"
        ),
        "minimal wrapped": aec(
            superalign_env.env(Minimal(CYCLES)), lambda seat, info: "river"
        ),
        "red-team wrapped": aec(
            superalign_env.env("red-team", critics=2, refine=2), red_team_action
        ),
        "red-team wrapped, one answer": aec(
            superalign_env.env("red-team"), red_team_action
        ),
        "textarena wrapped": kuhn_poker,
    }
    rates = interleaved(plays, turns=options.turns, repeats=repeats)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    table(
        "live turns through last() and step()",
        [(name, f"{median:,.0f}") for name, median in medians.items()],
        ("environment", "turns/s"),
    )
    last_line(
        {
            "minimal_raw_over_rps_raw": ratio(rates["minimal raw"], rates["rps raw"]),
            "minimal_wrapped_over_rps_wrapped": ratio(
                rates["minimal wrapped"], rates["rps wrapped"]
            ),
            "red_team_wrapped_over_rps_wrapped": ratio(
                rates["red-team wrapped"], rates["rps wrapped"]
            ),
            "red_team_over_textarena_wrapped": ratio(
                rates["red-team wrapped"], rates["textarena wrapped"]
            ),
        }
    )


if __name__ == "__main__":
    main()
