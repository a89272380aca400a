"""`superalign play`: episodes in the terminal, people welcome."""

import json
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from superalign_agents.references import make_agent
from superalign_env.errors import InvalidOption, UnknownId
from superalign_env.making import make_scenario
from superalign_env.plain_text import terminal
from superalign_env.protocols import Agent, AsyncAgent, EpisodeSink
from superalign_env.rewards import totals
from superalign_env.rollout import Rollouts
from superalign_env.types import Episode, Seat, role_of

_DEFAULTS = {"attacker": "search", "learner": "micro/3", "critic": "keyword"}
_COLOURS = {"attacker": "red", "learner": "green", "critic": "yellow"}


def play(
    scenario: Annotated[str, typer.Argument(help="Id of the scenario.")] = "red-team",
    seat: Annotated[
        list[str] | None,
        typer.Option(
            "--seat", "-s", help="SEAT=AGENT: learner_0=human, critic_0=micro/4 …"
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
    """Play episodes and print every word; seats without an agent get a default."""
    console = Console(highlight=False)
    options = read_pairs(option or [])
    rules = make_scenario(scenario, **options)
    seats = references(rules.seats, read_pairs(seat or []))
    agents = lineup(seats)
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
            record = stack.enter_context(
                Run.create(run, kind="play", config=config, seed=seed)
            )
            sinks.append(stack.enter_context(EpisodeWriter(record)))
        rollouts = Rollouts(rules, agents, run=seed, first_case=first, sinks=sinks)
        for episode in rollouts.run(episodes):
            console.print("\n".join(transcript(episode)))
    if run is not None:
        console.print(f"recorded in {escape(str(run))}; read it with: superalign ls {run}")


def transcript(episode: Episode) -> list[str]:
    """Return the lines of an episode in rich markup: safe to print."""
    lines = [f"[bold]{episode.id}[/] {episode.scenario} {episode.arm}".rstrip()]
    lines.append(f"  [dim]task[/] {escape(terminal(episode.task.prompt))}")
    for said in episode.utterances:
        colour = _COLOURS.get(role_of(said.seat), "cyan")
        lines.append(f"  [{colour}]{said.seat}[/] {escape(terminal(said.text))}")
        if said.repair:
            lines.append(f"    [dim]repaired: it {escape(said.repair)}[/]")
    pay = totals(episode.rewards, episode.weights)
    earned = ", ".join(f"{seat} {value:+.2f}" for seat, value in pay.items())
    lines.append(
        f"  [dim]{episode.ending.kind} {escape(episode.ending.reason)} {earned}[/]"
    )
    return lines


def references(seats: Iterable[Seat], chosen: dict[str, Any]) -> dict[Seat, Any]:
    """Return who sits in every seat: as chosen, else the default of its role.

    Raises:
        UnknownId: a chosen seat that the scenario does not have.
    """
    seats = tuple(seats)
    for name in chosen:
        if name not in seats:
            raise UnknownId("seat", name, seats)
    defaults = {seat: _DEFAULTS.get(role_of(seat), "random-menu") for seat in seats}
    return {**defaults, **chosen}


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


def read_pairs(pairs: Iterable[str]) -> dict[str, Any]:
    """Read KEY=VALUE pairs; values are JSON where they can be, else text.

    Raises:
        InvalidOption: no equals sign.
    """
    read: dict[str, Any] = {}
    for pair in pairs:
        key, found, value = pair.partition("=")
        if not found:
            raise InvalidOption(f"expected KEY=VALUE, not {pair!r}")
        try:
            read[key] = json.loads(value)
        except ValueError:
            read[key] = value
    return read
