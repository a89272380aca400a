"""Commands `superalign play` and `superalign evaluate`: agents in any scenario.

`play` prints episodes while they end, and people may hold seats. `evaluate` plays held-out
cases, with one lineup or with two on the same cases.
"""

import inspect
import shlex
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from math import inf
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from msgspec.structs import replace

from superalign_agents.human import Human
from superalign_agents.references import make_lineup, read_pairs, seat_references
from superalign_env import registry
from superalign_env.asking import TIMEOUT
from superalign_env.cli.output import (
    AsJson,
    console,
    print_json,
    print_transcript,
    say,
    table,
)
from superalign_env.errors import InvalidOption
from superalign_env.evaluation import (
    LEAST,
    Score,
    cases_of,
    grade_of,
    metrics,
    paired,
    pay_of,
    titled,
)
from superalign_env.grades import applies
from superalign_env.lookup import make_scenario, named_object, scenario_id
from superalign_env.protocols import EpisodeSink, Scenario
from superalign_env.rollout import Rollouts
from superalign_env.rounding import decimal
from superalign_env.types import Episode, Metric

Timeout = Annotated[
    float,
    typer.Option(min=0.001, help="Seconds that an agent may take without giving a reply."),
]

_LIVE = 64
"""Episodes that are played at once where nobody has to follow them."""


def play(
    scenario: Annotated[str, typer.Argument(help="Id of the scenario.")] = "red-team",
    seat: Annotated[
        list[str] | None,
        typer.Option(
            "--seat",
            "-s",
            help="SEAT=AGENT or ROLE=AGENT: learner=human, critic_1=micro/4 …",
        ),
    ] = None,
    episodes: Annotated[int, typer.Option(min=1, help="How many cases to play.")] = 1,
    first: Annotated[int, typer.Option(min=0, help="Number of the first case.")] = 0,
    seed: Annotated[int, typer.Option(help="The run's seed.")] = 0,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", help="KEY=VALUE of the scenario: refine=1 …"),
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="Also record the episodes in this new run folder.")
    ] = None,
    timeout: Timeout = TIMEOUT,
) -> None:
    """Play episodes and print every word.

    Seats without an agent get one by what the scenario declares: search for who asks,
    keyword for who judges, micro/3 for others that read the micro language, random-menu
    elsewhere. Ends with 1 if an episode failed. Ctrl-C keeps what has ended.
    """
    _require_scenario(scenario)
    options = read_pairs(option or [])
    rules = make_scenario(scenario, **options)
    seats = seat_references(rules, _read_seats(seat))
    agents = make_lineup(seats)
    # A person plays one episode to its end before the next begins.
    live = 1 if any(isinstance(agent, Human) for agent in agents.values()) else _LIVE
    with ExitStack() as stack:
        sinks: list[EpisodeSink] = []
        if run is not None:
            from superalign_env.store import EpisodeWriter, Run  # noqa: PLC0415 - SQL is slow to import

            config: dict[str, Any] = {"scenario": scenario, "options": options}
            config |= {"seats": seats, "first": first, "episodes": episodes}
            created = Run.create(run, kind="play", config=config, seed=seed)
            stack.callback(_print_location, run)  # once it is closed, also after Ctrl-C
            record = stack.enter_context(created)
            sinks.append(stack.enter_context(EpisodeWriter(record)))
        rollouts = Rollouts(
            rules,
            agents,
            run=seed,
            first_case=first,
            live=live,
            sinks=sinks,
            timeout=timeout,
        )
        stream = stack.enter_context(closing(rollouts.stream(episodes)))
        total, failed = printed(stream, first)
    if failed:
        say("{} of {} episodes failed", failed, total, style="red")
        raise typer.Exit(1)


def _require_scenario(word: str) -> None:
    """Raise where a seat or an option stands in the place of the scenario.

    Raises:
        InvalidOption: says how it is written.
    """
    if "=" in word:
        raise InvalidOption(
            f"{word!r} is no scenario; name one first, and put -s before a seat and -o before "
            f"an option: superalign play red-team -s learner=micro/3 -o refine=1"
        )


def _read_seats(pairs: Sequence[str] | None) -> dict[str, Any]:
    return read_pairs(pairs or [], what="SEAT=AGENT", example="learner=micro/3")


def _print_location(run: Path) -> None:
    say("recorded in {}; read it with: superalign ls {}", run, shlex.quote(str(run)))


def printed(episodes: Iterable[Episode], first: int) -> tuple[int, int]:
    """Print episodes in order of cases while they end; return how many, and how many failed.

    After an interrupt those are printed, too, that waited for an earlier case.
    """
    total = failed = 0
    waiting: dict[int, Episode] = {}
    due = first
    try:
        for episode in episodes:
            waiting[episode.key.case] = episode
            total += 1
            failed += episode.failed
            while due in waiting:
                print_transcript(waiting.pop(due))
                due += 1
    finally:
        for case in sorted(waiting):
            print_transcript(waiting[case])
    return total, failed


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
    timeout: Timeout = TIMEOUT,
    as_json: AsJson = False,
) -> None:
    """Measure agents on held-out cases: truth, pay, verdicts, diversity.

    Cases are of the split `test`, unless an option names another. With --against they are
    played twice, and differences are paired. Ends with 1 if every episode of one failed.
    """
    _require_scenario(scenario)
    rules = make_scenario(scenario, **held_out(scenario, read_pairs(option or [])))
    seats = seat_references(rules, _read_seats(seat))
    played = partial(_played, rules, cases, seed, timeout, progress=not as_json)
    lineups = [played(seats)]
    if against:
        others = seat_references(rules, _read_seats(against), seats)
        lineups.append(played(others))
    by_task = cases_of(rules, cases, seed) is not None
    differences = []
    if against:
        differences = compared(*(one.episodes for one in lineups), by_task=by_task)
    if as_json:
        print_json(
            {
                "scenario": rules.id,
                "options": rules.options,
                "graded_by": rules.source.id,
                "lineups": [{"seats": p.seats, "metrics": p.metrics} for p in lineups],
                "differences": differences,
            }
        )
    else:
        _print_metrics(rules, lineups, differences)
    if any(len(one.failed) == len(one.episodes) for one in lineups):
        raise typer.Exit(1)


class PlayedLineup(NamedTuple):
    """A lineup (seat → reference) with its episodes and their metrics."""

    seats: dict[str, Any]
    episodes: list[Episode]
    metrics: list[Metric]

    @property
    def failed(self) -> list[Episode]:
        """Episodes that an agent's failure ended; they are in no comparison."""
        return [e for e in self.episodes if e.failed]


def held_out(scenario: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options with the split ``test``, where the scenario has splits."""
    constructor = (
        named_object(scenario, kind="scenario")
        if ":" in scenario
        else registry.load("scenario", scenario_id(scenario))
    )
    has_splits = "split" in inspect.signature(constructor).parameters
    return {"split": "test", **options} if has_splits else options


def compared(
    ours: Sequence[Episode], theirs: Sequence[Episode], *, by_task: bool = False
) -> list[Metric]:
    """Return paired differences of grades and pay, ours minus theirs, case by case.

    Episodes that failed are left out: an outage is no opinion.

    Args:
        ours: episodes of the one.
        theirs: episodes of the other, over the same cases.
        by_task: whether cases of one task count as one.
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
    differences = []
    for name, tags, score in scores:
        span = inf if name == "pay" else 1.0
        try:
            metric = paired(name, ours, theirs, score, span=span, by_task=by_task)
            differences.append(replace(metric, tags=tags))
        except InvalidOption:  # no case in which both have it
            continue
    return differences


def _played(
    rules: Scenario[Any],
    cases: int,
    seed: int,
    timeout: float,
    seats: dict[str, Any],
    *,
    progress: bool,
) -> PlayedLineup:
    tasks = cases_of(rules, cases, seed)
    rollouts = Rollouts(
        rules,
        make_lineup(seats),
        run=seed,
        tasks=tasks,
        timeout=timeout,
        progress=progress and console.is_terminal,
    )
    episodes = rollouts.run(cases)
    return PlayedLineup(seats, episodes, metrics(episodes, by_task=tasks is not None))


def _print_metrics(
    rules: Scenario[Any], lineups: Sequence[PlayedLineup], differences: Sequence[Metric]
) -> None:
    for played in lineups:
        who = ", ".join(f"{seat}={reference}" for seat, reference in played.seats.items())
        say("{}, {} cases: {}", rules.id, len(played.episodes), who)
        console.print(table(_HEAD, [_row(metric) for metric in played.metrics]))
        if played.failed:
            example = played.failed[0].ending.reason
            say("{} failed, the first: {}", len(played.failed), example, style="red")
        console.print()
    if differences:
        console.print("the first minus the second, on the same cases")
        console.print(table(_HEAD, [_row(metric) for metric in differences]))
    printed_metrics = [*differences, *(m for played in lineups for m in played.metrics)]
    few = any(metric.n < LEAST for metric in printed_metrics)
    note = f" None is given for fewer than {LEAST} observations (n)." if few else ""
    say("Shares lie between 0 and 1; intervals are of 95 %.{}", note)
    say("graded by {}", rules.source.id)


_HEAD = ("measure", "of", "value", "95 %", "n")


def _row(metric: Metric) -> tuple[str, ...]:
    interval = (
        ""
        if metric.low is None or metric.high is None
        else f"{decimal(metric.low)} to {decimal(metric.high)}"
    )
    of = " ".join(metric.tags.values())
    return (titled(metric.name), of, decimal(metric.value), interval, str(metric.n))
