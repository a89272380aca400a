"""Rollouts of a stage: scenario variants, agents by seat, recorded episodes."""

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
from superalign_training.selfplay.driver import StageContext
from superalign_training.selfplay.lineup import AgentReference
from superalign_training.selfplay.scenario_capabilities import (
    ATTACKED,
    DEPLOYED,
    ScenarioCapabilities,
    scenario_capabilities,
)
from superalign_training.selfplay.settings import Settings

_LIVE = 256
"""Episodes played at once: policies decode them as one batch."""


def stage_scenario(
    settings: Settings, *, split: Split, variant: str = "", **options: Any
) -> Scenario[Any]:
    """Return the run's scenario on a split, or one of its variants.

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
    scenario_options = {**settings.options, "split": split, **options}
    if variant:
        scenario_options |= variants_of(
            make_scenario(settings.scenario, **scenario_options)
        )[variant]
    return make_scenario(settings.scenario, **scenario_options)


def stage_capabilities(settings: Settings) -> ScenarioCapabilities:
    """Return the roles of the run's scenario by the facts that it declares."""
    return scenario_capabilities(stage_scenario(settings, split="train"))


def plain_scenario(settings: Settings, split: Split, **options: Any) -> Scenario[Any]:
    """Return the run's scenario in its variant without attacks, if it has one."""
    scenario = stage_scenario(settings, split=split, **options)
    if "plain" not in variants_of(scenario):
        return scenario
    return stage_scenario(settings, split=split, variant="plain", **options)


def source_of(settings: Settings) -> Any:
    """Return the scenario's task source, as an option of other scenarios."""
    scenario = stage_scenario(settings, split="train")
    spec = scenario.options.get("source")
    remade = isinstance(spec, str) or (isinstance(spec, Mapping) and "id" in spec)
    return spec if remade else scenario.source


def renderer_of(settings: Settings) -> str:
    """Return the renderer of the run's scenario."""
    scenario = make_scenario(settings.scenario, **settings.options)
    return str(scenario.options.get("renderer", "micro"))


def opening_role(scenario: Scenario[Any]) -> Role:
    """Return the role that moves first."""
    return role_of(Game(scenario, EpisodeKey()).group[0])


def agents_by_seat(
    scenario: Scenario[Any], agents: Mapping[Role | Seat, Anyone]
) -> dict[Seat, Anyone]:
    """Return the agent of every seat: that of the seat if named, else that of its role."""
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


class RolloutOptions(TypedDict, total=False):
    """Options of `Rollouts` that `play` accepts."""

    first_case: int
    group: int
    fork_at: Seat | None
    tasks: Sequence[Task] | None


def play(
    context: StageContext,
    scenario: Scenario[Any],
    agents: Mapping[Role | Seat, Anyone],
    cases: int,
    *,
    part: str,
    take: int | None = None,
    **how: Unpack[RolloutOptions],
) -> list[Episode]:
    """Play and record episodes of one part of a stage.

    Args:
        context: of the stage.
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
    episodes = Rollouts(
        scenario,
        agents_by_seat(scenario, agents),
        **(_own(context, part) if take is None else _shared(context, part, take)),
        live=_LIVE,
        sinks=[context.writer],
        **how,
    ).run(cases)
    context.failures.count(episodes)
    return episodes


def _own(context: StageContext, part: str) -> _Key:
    return _Key(
        run=context.seed_of(part),
        generation=context.generation,
        round=context.round,
        take=0,
    )


def _shared(context: StageContext, part: str, take: int) -> _Key:
    return _Key(
        run=mix(context.run.info.seed, label(part)), generation=0, round=0, take=take
    )


def first_view(scenario: Scenario[Any], episode: Episode, seat: Seat) -> View:
    """Return the first view of a seat in an episode, by replaying the episode.

    Raises:
        InvalidOption: the seat was never asked.
    """
    game = Game(scenario, episode.key, task=episode.task)
    utterances = list(episode.utterances)
    while seat not in game.group:
        group = [
            u for u in utterances if u.group == (utterances[0].group if utterances else -1)
        ]
        if game.over or not group:
            raise InvalidOption(f"{seat} was never asked in {episode.id}")
        game.step_recorded(group)
        utterances = utterances[len(group) :]
    return game.view(seat)


def tasks_of(settings: Settings) -> Any:
    """Return the source of competence tasks, as an option of scenarios."""
    rules = settings.competence
    same_source = rules.source is None
    return filtered_source(
        source_of(settings) if same_source else rules.source, rules.families, rules.tiers
    )


def filtered_source(
    source: Any, families: Sequence[str] | None = (), tiers: Sequence[int] | None = ()
) -> Any:
    """Return a source limited to some families and tiers; unchanged if none are named."""
    kinds: dict[str, Any] = {}
    if families:
        kinds["families"] = list(families)
    if tiers:
        kinds["tiers"] = list(tiers)
    if not kinds:
        return source
    if not isinstance(source, (str, Mapping)):
        raise InvalidOption(
            f"{source.id} is no source by id, of which families and tiers could be chosen; "
            "name another in competence.source, or no families and tiers"
        )
    return {**({"id": source} if isinstance(source, str) else source), **kinds}


def competence_scenario(
    settings: Settings, split: Split, supervisors: int
) -> Scenario[Any]:
    """Return the scenario in which competence tasks are labelled."""
    return labelling_scenario(settings, tasks_of(settings), split, supervisors)


def labelling_scenario(
    settings: Settings, source: Any, split: Split, supervisors: int
) -> Scenario[Any]:
    """Return the scenario in which tasks are labelled: `exam` without supervising models."""
    shared = {"source": source, "split": split, "renderer": renderer_of(settings)}
    if not supervisors:
        return make_scenario("exam", **shared)
    return make_scenario("weak-to-strong", supervisors=supervisors, **shared)


def further_critics(
    settings: Settings,
) -> tuple[dict[str, Any], dict[Seat, AgentReference]]:
    """Return the option for the seats of ``discover.critics``, and their agents.

    Raises:
        InvalidOption: the scenario has no seats for them.
    """
    references = settings.discover.critics
    if not references:
        return {}, {}
    base = plain_scenario(settings, "train")
    if "critics" not in base.options:
        raise InvalidOption(
            f"discover.critics names {len(references)}, and {base.id} has no option critics "
            "that would seat them; leave them out"
        )
    options = {"critics": int(base.options["critics"]) + len(references)}
    seats = plain_scenario(settings, "train", **options).seats
    added = [seat for seat in seats if seat not in base.seats]
    return options, dict(zip(added, references, strict=True))


def attacker_of(settings: Settings) -> Role:
    """Return the role that attacks the policy of generations; empty for none."""
    capabilities = stage_capabilities(settings)
    return (
        capabilities.asks
        if capabilities.can(ATTACKED) and capabilities.asks != settings.generation_role
        else ""
    )


def is_judged(settings: Settings) -> bool:
    """Whether the policy of generations is judged in the variant plain."""
    if not stage_capabilities(settings).can(DEPLOYED):
        return False
    return opening_role(plain_scenario(settings, "train")) == settings.generation_role
