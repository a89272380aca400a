"""Checks of a run's lineup and algorithms against its scenario, before it starts."""

from collections.abc import Collection
from typing import Any

from superalign_agents.references import require_known
from superalign_env.asking import waits
from superalign_env.errors import InvalidOption, hint, nearest
from superalign_env.lookup import make_scenario, named_object
from superalign_env.protocols import Scenario
from superalign_env.rewards import HUMAN
from superalign_env.seeding import generator
from superalign_env.types import Role, Split, role_of
from superalign_training.evaluation.evaluation import check_fits
from superalign_training.evaluation.holdout import exam_scenario, require_gold
from superalign_training.selfplay.lineup import LEARNER, OBJECT, has_weights, is_user_object
from superalign_training.selfplay.model_cache import ModelCache
from superalign_training.selfplay.plan import training_stage
from superalign_training.selfplay.playing import (
    competence_scenario,
    filtered_source,
    further_critics,
    stage_scenario,
    tasks_of,
)
from superalign_training.selfplay.scenario_capabilities import (
    require_simulable,
    scenario_capabilities,
)
from superalign_training.selfplay.settings import Settings
from superalign_training.selfplay.skipped_stages import skipped_stages

SPLITS_PLAYED: tuple[Split, ...] = ("train", "gate", "test")
"""Splits that the stages of self-play draw from."""

SPLITS_LABELLED: tuple[Split, ...] = ("train", "control", "gate", "test")
"""Splits that competence is taught, watched and measured on."""


def require_lineup(
    settings: Settings, models: ModelCache, *, load: bool = True
) -> list[str]:
    """Raise unless every seat has an agent and every split has tasks.

    Who does not learn is made now, so that a reference to nobody is an error here.

    Args:
        settings: of the run.
        models: keeps who is made.
        load: whether that includes models, which takes seconds.

    Returns:
        What the run leaves out, and why: a line each.

    Raises:
        UnknownId: a scenario or an agent that does not exist.
        InvalidOption: a role that the scenario does not have, a seat that nobody holds, a
            split without tasks, an algorithm that the scenario has nothing for.
    """
    if "split" in settings.options:
        raise InvalidOption(
            "options.split is set by the stages: they train on train, compare on gate and "
            "test; leave it out"
        )
    if "split" not in make_scenario(settings.scenario, **settings.options).options:
        raise InvalidOption(
            f"{settings.scenario} has no option split, without which what is measured would "
            "be what was trained on; add one to its constructor and its options: "
            'def __init__(self, *, split="train")'
        )
    scenario = stage_scenario(settings, split="train")
    _require_seats(settings, scenario)
    _require_known_agents(settings)
    _require_people(settings, scenario)
    for split in SPLITS_PLAYED:
        scenario.source.draw(generator(0), split)
    if settings.generations:
        _require_chain(settings, scenario)
    else:
        _require_exams(settings, scenario)
    if settings.rounds:
        _require_pay(settings, scenario)
    _require_taught(settings, scenario_capabilities(scenario).answers)
    for evaluation in settings.evaluate.also:
        check_fits(evaluation, scenario)
    # Last, as models are read for it.
    _require_agents(settings, models, load=load)
    return skipped_stages(settings)


def _require_seats(settings: Settings, scenario: Scenario[Any]) -> None:
    """Raise unless every seat has an agent and every named role exists."""
    roles = list(dict.fromkeys(map(role_of, scenario.seats)))
    _require_known(settings.lineup, "lineup", scenario, [*roles, *scenario.seats])
    _require_known(settings.train, "train", scenario, roles)
    for seat in scenario.seats:
        role = role_of(seat)
        if seat not in settings.lineup and role not in settings.lineup:
            raise InvalidOption(
                f"nobody holds {seat} of {scenario.id}; add lineup.{role}=micro/3, or another "
                "agent"
            )
    for role in settings.learning:
        seats = [seat for seat in scenario.seats if role_of(seat) == role]
        if all(seat in settings.lineup for seat in seats):
            raise InvalidOption(
                f"train.{role}: every seat of the role is held by somebody else "
                f"({', '.join(seats)}); leave one to lineup.{role}, or set train.{role}=null"
            )


def _require_people(settings: Settings, scenario: Scenario[Any]) -> None:
    """Raise where people are asked, and are neither simulated nor enrolled."""
    if settings.budget and settings.people.mode == "simulated":
        require_simulable(scenario)


def _require_known_agents(settings: Settings) -> None:
    """Raise for references to unknown agents, without making any."""
    for name in settings.lineup:
        reference = settings.reference(name)
        require_known(reference)
        if is_user_object(reference):
            target = reference if isinstance(reference, str) else str(reference.get("id"))
            if not target.startswith((OBJECT, LEARNER)):
                named_object(target, kind="agent")


def _require_agents(settings: Settings, models: ModelCache, *, load: bool) -> None:
    """Raise for agents that cannot be made; make those that do not learn."""
    learning = {settings.holder(role) for role in settings.learning}
    for name in settings.lineup:
        reference = settings.reference(name)
        if settings.holder(name) in learning:
            if settings.own(name):
                from superalign_training.selfplay.agents import (  # noqa: PLC0415 - brings torch
                    first_policy,
                )

                first_policy(name, settings, models)  # made, so that it may refuse
            continue
        if has_weights(reference) and not load:
            continue
        frozen = models.frozen(reference, device=settings.device)
        if waits(frozen) and settings.generations:
            raise InvalidOption(
                f"lineup.{name} waits for each reply; a chain of generations asks whole "
                "batches: hold the seat by a policy, or play rounds (generations=0)"
            )


def _require_known(
    names: Collection[str], setting: str, scenario: Scenario[Any], allowed: Collection[str]
) -> None:
    for name in names:
        if name not in allowed:
            suggestion = hint(nearest(name, allowed), allowed, listed="there are")
            raise InvalidOption(
                f"{setting}.{name}: {scenario.id} has no {name}; {suggestion}"
            )


def _require_chain(settings: Settings, scenario: Scenario[Any]) -> None:
    """Raise unless every stage of a chain of generations has what it needs.

    A policy to raise, its tasks in every split, gold answers for the ceiling, seats for
    further critics, and a truth to simulate people by.
    """
    if settings.own(settings.generation_role):
        raise InvalidOption(
            f"generations are of a policy (micro/3, a folder), and the {settings.generation_role} "
            f"({settings.lineup[settings.generation_role]}) improves itself; play rounds instead "
            "(generations=0 rounds=3)"
        )
    source = competence_scenario(settings, "train", 0).source
    for split in SPLITS_LABELLED:
        source.draw(generator(0), split)
    require_gold(source)
    further_critics(settings)
    people = [person.name for person in settings.signals.people if person.simulated]
    if (
        people
        and settings.gate.request_labels
        and not scenario_capabilities(scenario).has_gold
    ):
        raise InvalidOption(
            f"nobody can simulate people in {scenario.id}, which has no method gold; set "
            f"gate.request_labels=0, or simulated=false for {', '.join(people)}, who answer with "
            "`superalign label`"
        )


def _require_exams(settings: Settings, scenario: Scenario[Any]) -> None:
    """Raise unless the tasks of competence have every evaluated family."""
    answers = scenario_capabilities(scenario).answers
    for family in (settings.evaluate.families or ()) if answers else ():
        source = filtered_source(tasks_of(settings), [family])
        exam_scenario("test", source).source.draw(generator(0), "test")


def _require_taught(settings: Settings, answers: Role) -> None:
    """Raise where the stage supervise would train an agent without weights."""
    if settings.supervise is not None and settings.own(answers):
        raise InvalidOption(
            f"supervise needs a {answers} that is a policy (micro/3, a folder), and "
            f"lineup.{answers}={settings.lineup[answers]} improves itself; leave it out"
        )


def _require_pay(settings: Settings, scenario: Scenario[Any]) -> None:
    """Raise where a role cannot learn from its rewards."""
    capabilities = scenario_capabilities(scenario)
    holders: dict[Role, Role] = {}
    for role in settings.learning:
        if training_stage(role, capabilities, settings) != "improve":
            continue
        first_role = holders.setdefault(settings.holder(role), role)
        if first_role != role:
            raise InvalidOption(
                f"train.{role}: {role} and {first_role} share one policy, which learns from the "
                f"seats of both by one algorithm; drop train.{role} (train.{first_role} has it)"
            )
        for algorithm in settings.supervised_algorithms(role):
            raise InvalidOption(
                f"train.{role}={algorithm.id} learns from examples, and the stage "
                f"improve-{role} of {scenario.id} has only rewards; choose one that learns from "
                "pay (ppo, grpo, rloo, reinforce), or let "
                f"supervise={{algorithm: {{id: {algorithm.id}}}}} teach it before"
            )
        weights = scenario.weights.get(role, {})
        nonzero = {part: w for part, w in weights.items() if w}
        by_people = settings.budget and weights.get(HUMAN, 1.0)
        if not (by_people or set(nonzero) - {"format", HUMAN}):
            cure = "let people pay (budget=0.2), train another role"
            if scenario.options.get("truth") is False:
                cure += ", or let the truth pay: options.truth=true"
            raise InvalidOption(
                f"train.{role}: {scenario.id} pays the role {role} nothing to learn from "
                f"(its weights: {nonzero or 'none'}); {cure}"
            )
