"""`superalign play`: episodes in the terminal, people welcome."""

import json
import shlex
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import msgspec
import typer

from superalign_agents.human import Human
from superalign_agents.references import make_agent
from superalign_env.capabilities import facts_of
from superalign_env.cli.output import console, shown
from superalign_env.cli.record import transcript
from superalign_env.errors import InvalidOption, UnknownId
from superalign_env.lookup import make_scenario
from superalign_env.protocols import Agent, AsyncAgent, EpisodeSink, Scenario
from superalign_env.rollout import Rollouts
from superalign_env.types import Episode, Seat, role_of

_DEFAULTS = {"queries": "search", "judged": "keyword"}
"""Fact of a scenario → who holds the seats of the role that makes it, if nobody is named."""
_SPEAKERS = {"micro": "micro/3"}
"""Renderer → who holds the other seats; `random-menu` where it is another one, or none."""
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
) -> None:
    """Play episodes and print every word.

    Seats without an agent get one by what the scenario declares: search for who asks,
    keyword for who judges, micro/3 for others that read the micro language, random-menu
    elsewhere. Ends with 1 if an episode failed. Ctrl-C keeps what has ended.
    """
    options = read_pairs(option or [])
    rules = make_scenario(scenario, **options)
    seats = references(rules, read_pairs(seat or [], what="SEAT=AGENT"))
    agents = lineup(seats)
    # A person plays one episode to its end before the next begins.
    live = 1 if any(isinstance(agent, Human) for agent in agents.values()) else _LIVE
    with ExitStack() as stack:
        sinks: list[EpisodeSink] = []
        if run is not None:
            from superalign_env.store import EpisodeWriter, Run  # noqa: PLC0415 - SQL is slow to import

            config = {
                "scenario": scenario,
                "options": options,
                "seats": seats,
                "first": first,
                "episodes": episodes,
            }
            made = Run.create(run, kind="play", config=config, seed=seed)
            stack.callback(_say_where, run)  # once it is closed, also after Ctrl-C
            record = stack.enter_context(made)
            sinks.append(stack.enter_context(EpisodeWriter(record)))
        rollouts = Rollouts(
            rules, agents, run=seed, first_case=first, live=live, sinks=sinks
        )
        stream = stack.enter_context(closing(rollouts.stream(episodes)))
        total, failed = printed(stream, first)
    if failed:
        console.print(f"{failed} of {total} episodes failed", style="red")
        raise typer.Exit(1)


def _say_where(run: Path) -> None:
    command = f"superalign ls {shlex.quote(str(run))}"
    console.print(shown(f"recorded in {run}; read it with: {command}"))


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
                _print(waiting.pop(due))
                due += 1
    finally:
        for case in sorted(waiting):
            _print(waiting[case])
    return total, failed


def _print(episode: Episode) -> None:
    for line in transcript(episode):
        console.print(line)


def references(
    scenario: Scenario[Any],
    chosen: Mapping[str, Any],
    others: Mapping[Seat, Any] = MappingProxyType({}),
) -> dict[Seat, Any]:
    """Return who sits in every seat: as chosen by seat, else by role, else as before.

    Args:
        scenario: whose seats.
        chosen: seat or role → reference.
        others: who sits where nobody was chosen; defaults by declared facts when absent.

    Raises:
        UnknownId: a chosen seat or role that the scenario does not have.
    """
    roles = {seat: role_of(seat) for seat in scenario.seats}
    known = list(dict.fromkeys([*roles, *roles.values()]))
    for name in chosen:
        if name not in known:
            raise UnknownId("seat", name, known)
    usual = {
        role: _DEFAULTS[fact]
        for fact, role in facts_of(scenario).items()
        if fact in _DEFAULTS
    }
    other = _SPEAKERS.get(str(scenario.options.get("renderer")), "random-menu")
    before = {seat: usual.get(role, other) for seat, role in roles.items()} | dict(others)
    return {
        seat: chosen.get(seat, chosen.get(role, before[seat]))
        for seat, role in roles.items()
    }


def lineup(seats: dict[Seat, Any]) -> dict[Seat, Agent | AsyncAgent]:
    """Return an agent for every seat; equal references share one agent."""
    made: dict[str, Agent | AsyncAgent] = {}
    agents = {}
    for seat, reference in seats.items():
        name = json.dumps(reference, sort_keys=True)
        if name not in made:
            made[name] = make_agent(reference)
        agents[seat] = made[name]
    return agents


def read_pairs(pairs: Iterable[str], *, what: str = "KEY=VALUE") -> dict[str, Any]:
    """Read KEY=VALUE pairs; values are JSON where they can be, else text.

    Lists and mappings may leave out the quotes: ``{id: fixed, text: comply}``.

    Args:
        pairs: as they were written.
        what: what messages call a pair.

    Raises:
        InvalidOption: no equals sign.
    """
    read: dict[str, Any] = {}
    for pair in pairs:
        key, found, value = pair.partition("=")
        if not found:
            raise InvalidOption(f"expected {what}, not {pair!r}")
        try:
            read[key] = json.loads(value)
        except ValueError:
            read[key] = _unquoted(value)
    return read


def _unquoted(value: str) -> Any:
    """Return a list or a mapping that is written as YAML, else the text itself."""
    if not value.startswith(("{", "[")):
        return value
    try:
        return msgspec.yaml.decode(value)
    except ValueError:
        return value
