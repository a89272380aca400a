"""Playing in a stage: the run's scenario, who sits where, and recorded episodes."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, Unpack

from superalign_env.asking import Anyone
from superalign_env.capabilities import variants_of
from superalign_env.errors import InvalidOption
from superalign_env.game import Game
from superalign_env.lookup import make_scenario
from superalign_env.protocols import Scenario
from superalign_env.rollout import Rollouts
from superalign_env.seeding import label, mix
from superalign_env.types import Episode, EpisodeKey, Role, Seat, Split, Task, View, role_of
from superalign_training.loop.driver import Bench
from superalign_training.loop.parts import Parts, parts_of
from superalign_training.settings import Settings

_LIVE = 256
"""Episodes played at once: policies decode them as one batch."""


def stage_scenario(
    settings: Settings, *, split: Split, variant: str = "", **options: Any
) -> Scenario[Any]:
    """Return the run's scenario as a stage wants it.

    Args:
        settings: of the run.
        split: of the tasks.
        variant: one of those that the scenario declares; itself when empty.
        **options: of the scenario.

    Raises:
        UnknownId: no scenario is called so.
        InvalidOption: options that the scenario does not know, the option ``split`` among
            them.
    """
    wanted = {**settings.options, "split": split, **options}
    if variant:
        wanted |= variants_of(make_scenario(settings.scenario, **wanted))[variant]
    return make_scenario(settings.scenario, **wanted)


def stage_parts(settings: Settings) -> Parts:
    """Return the roles of the run's scenario by the facts that it declares."""
    return parts_of(stage_scenario(settings, split="train"))


def plainly(settings: Settings, split: Split, **options: Any) -> Scenario[Any]:
    """Return the run's scenario as it is without attacks, where it knows any."""
    scenario = stage_scenario(settings, split=split, **options)
    if "plain" not in variants_of(scenario):
        return scenario
    return stage_scenario(settings, split=split, variant="plain", **options)


def source_of(settings: Settings) -> Any:
    """Return the source of the scenario's own tasks, as other scenarios take it."""
    scenario = stage_scenario(settings, split="train")
    spec = scenario.options.get("source")
    remade = isinstance(spec, str) or (isinstance(spec, Mapping) and "id" in spec)
    return spec if remade else scenario.source


def renderer_of(settings: Settings) -> str:
    """Return how tasks are shown to the models of a run."""
    scenario = make_scenario(settings.scenario, **settings.options)
    return str(scenario.options.get("renderer", "micro"))


def opening_role(scenario: Scenario[Any]) -> Role:
    """Return the role that speaks first."""
    return role_of(Game(scenario, EpisodeKey()).group[0])


def seat_all(
    scenario: Scenario[Any], agents: Mapping[Role | Seat, Anyone]
) -> dict[Seat, Anyone]:
    """Return an agent for every seat: its own if it is named, else that of its role."""
    return {
        seat: agents[seat if seat in agents else role_of(seat)] for seat in scenario.seats
    }


def seat_of(scenario: Scenario[Any], role: Role) -> Seat:
    """Return the first seat of a role."""
    return next(seat for seat in scenario.seats if role_of(seat) == role)


class _Key(TypedDict):
    run: int
    generation: int
    round: int
    take: int


class How(TypedDict, total=False):
    """Arguments of `play` that `Rollouts` takes."""

    first_case: int
    group: int
    fork_at: Seat | None
    tasks: Sequence[Task] | None


def play(
    bench: Bench,
    scenario: Scenario[Any],
    agents: Mapping[Role | Seat, Anyone],
    cases: int,
    *,
    part: str,
    take: int | None = None,
    **how: Unpack[How],
) -> list[Episode]:
    """Play and record episodes of one part of a stage.

    Args:
        bench: of the stage.
        scenario: the rules.
        agents: who holds each role or seat.
        cases: how many.
        part: name within the stage; other names have other seeds.
        take: plays cases that all stages of the run share by the part's name, with the same
            seeds: who is compared differs in nothing else. Another number for every play.
        **how: further arguments of `Rollouts`.

    Raises:
        EpisodesFailed: too many of them did.
    """
    played = Rollouts(
        scenario,
        seat_all(scenario, agents),
        **(_own(bench, part) if take is None else _shared(bench, part, take)),
        live=_LIVE,
        sinks=[bench.writer],
        **how,
    ).run(cases)
    bench.failures.count(played)
    return played


def _own(bench: Bench, part: str) -> _Key:
    return _Key(
        run=bench.seed_of(part), generation=bench.generation, round=bench.round, take=0
    )


def _shared(bench: Bench, part: str, take: int) -> _Key:
    return _Key(run=mix(bench.run.info.seed, label(part)), generation=0, round=0, take=take)


def first_view(scenario: Scenario[Any], episode: Episode, seat: Seat) -> View:
    """Return what a seat was first shown in an episode, by playing it again up to there.

    Raises:
        InvalidOption: the seat was never asked.
    """
    game = Game(scenario, episode.key, task=episode.task)
    said = list(episode.utterances)
    while seat not in game.group:
        group = [u for u in said if u.group == (said[0].group if said else -1)]
        if game.over or not group:
            raise InvalidOption(f"{seat} was never asked in {episode.id}")
        game.step_recorded(group)
        said = said[len(group) :]
    return game.view(seat)
