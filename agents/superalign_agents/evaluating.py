"""`superalign evaluate`: agents on held-out cases, alone or beside others on the same ones."""

import inspect
from collections.abc import Sequence
from math import inf
from typing import Annotated, Any, NamedTuple

import typer
from msgspec.structs import replace

from superalign_agents.commands import lineup, read_pairs, references
from superalign_env import registry
from superalign_env.cli.output import AsJson, console, print_json, shown, table
from superalign_env.errors import InvalidOption
from superalign_env.evaluation import (
    LEAST,
    Score,
    grade_of,
    metrics,
    paired,
    pay_of,
    titled,
)
from superalign_env.grades import applies
from superalign_env.lookup import make_scenario, named_object, scenario_id
from superalign_env.protocols import Scenario
from superalign_env.rollout import Rollouts
from superalign_env.rounding import decimal
from superalign_env.types import Episode, Metric


def evaluate(
    scenario: Annotated[str, typer.Argument(help="Id of the scenario.")] = "exam",
    seat: Annotated[
        list[str] | None,
        typer.Option("--seat", "-s", help="SEAT=AGENT or ROLE=AGENT: learner=micro/4 …"),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(help="SEAT=AGENT: who plays the same cases in that seat instead."),
    ] = None,
    cases: Annotated[int, typer.Option(min=1, help="How many cases to play.")] = 200,
    seed: Annotated[int, typer.Option(help="Of cases and agents.")] = 0,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", help="KEY=VALUE of the scenario: split=gate …"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure agents on held-out cases: truth, pay, verdicts, diversity.

    Cases are of the split `test`, unless an option names another. With --against they are
    played twice, and differences are paired. Ends with 1 if every episode of one failed.
    """
    rules = make_scenario(scenario, **held_out(scenario, read_pairs(option or [])))
    seats = references(rules, read_pairs(seat or [], what="SEAT=AGENT"))
    lines = [Lineup(seats, *_played(rules, seats, cases, seed, bar=not as_json))]
    if against:
        others = references(rules, read_pairs(against, what="SEAT=AGENT"), seats)
        lines.append(Lineup(others, *_played(rules, others, cases, seed, bar=not as_json)))
    differences = compared(*(line.episodes for line in lines)) if against else []
    if as_json:
        print_json(
            {
                "scenario": rules.id,
                "options": rules.options,
                "lineups": [{"seats": o.seats, "metrics": o.metrics} for o in lines],
                "differences": differences,
            }
        )
    else:
        _print(rules, lines, differences)
    if any(len(line.failed) == len(line.episodes) for line in lines):
        raise typer.Exit(1)


class Lineup(NamedTuple):
    """Who sat where, what they played, and what it came to."""

    seats: dict[str, Any]
    episodes: list[Episode]
    metrics: list[Metric]

    @property
    def failed(self) -> list[Episode]:
        """What an agent's failure ended; it is in no comparison."""
        return [e for e in self.episodes if e.failed]


def held_out(scenario: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options with the split ``test``, where the scenario has splits."""
    made = (
        named_object(scenario, what="scenario")
        if ":" in scenario
        else registry.load("scenario", scenario_id(scenario))
    )
    splits = "split" in inspect.signature(made).parameters
    return {"split": "test", **options} if splits else options


def compared(ours: Sequence[Episode], theirs: Sequence[Episode]) -> list[Metric]:
    """Return by how much grades and pay differ, ours minus theirs, case by case.

    Episodes that failed are left out: an outage is no opinion.
    """
    ours, theirs = ([e for e in episodes if not e.failed] for episodes in (ours, theirs))
    if not ours or not theirs:
        return []
    scores: list[tuple[str, dict[str, str], Score]] = [
        (m.name, m.tags, pay_of(m.tags["seat"])) for m in metrics(ours) if m.name == "pay"
    ]
    kinds = {(g.axis, g.name) for e in (*ours, *theirs) for g in e.grades}
    scores += [
        (f"grade.{axis}", {"name": name}, grade_of(axis, name))
        for axis, name in sorted(kinds)
        if applies(axis, name)
    ]
    found = []
    for name, tags, score in scores:
        span = inf if name == "pay" else 1.0
        try:
            metric = paired(name, ours, theirs, score, span=span)
            found.append(replace(metric, tags=tags))
        except InvalidOption:  # no case in which both have it
            continue
    return found


def _played(
    rules: Scenario[Any], seats: dict[str, Any], cases: int, seed: int, *, bar: bool
) -> tuple[list[Episode], list[Metric]]:
    rollouts = Rollouts(
        rules, lineup(seats), run=seed, progress=bar and console.is_terminal
    )
    episodes = rollouts.run(cases)
    return episodes, metrics(episodes)


def _print(
    rules: Scenario[Any], lines: Sequence[Lineup], differences: Sequence[Metric]
) -> None:
    for line in lines:
        who = ", ".join(f"{seat}={reference}" for seat, reference in line.seats.items())
        console.print(shown(f"{rules.id}, {len(line.episodes)} cases: {who}"))
        console.print(table(_HEAD, [_row(metric) for metric in line.metrics]))
        if line.failed:
            example = line.failed[0].ending.reason
            console.print(shown(f"{len(line.failed)} failed, the first: {example}", "red"))
        console.print()
    if differences:
        console.print("the first minus the second, on the same cases")
        console.print(table(_HEAD, [_row(metric) for metric in differences]))
    told = [*differences, *(metric for line in lines for metric in line.metrics)]
    few = any(metric.n < LEAST for metric in told)
    below = f" None is given for fewer than {LEAST} observations (n)." if few else ""
    console.print(f"Shares lie between 0 and 1; intervals are of 95 %.{below}")


_HEAD = ("measure", "of", "value", "95 %", "n")


def _row(metric: Metric) -> tuple[str, ...]:
    interval = (
        ""
        if metric.low is None or metric.high is None
        else f"{decimal(metric.low)} to {decimal(metric.high)}"
    )
    of = " ".join(metric.tags.values())
    return (titled(metric.name), of, decimal(metric.value), interval, str(metric.n))
