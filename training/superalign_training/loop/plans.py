"""The stages of a run: plain rounds, rounds of red-teaming, or a chain of generations."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from superalign_env.errors import InvalidOption
from superalign_env.protocols import variants_of
from superalign_env.types import Role, role_of
from superalign_training.hardening.settings import Hardening
from superalign_training.lineup import AgentReference
from superalign_training.loop.driver import Outcome, Planned
from superalign_training.loop.playing import stage_scenario
from superalign_training.loop.stages.alarms import alarms, alarms_off
from superalign_training.loop.stages.annotate import annotate
from superalign_training.loop.stages.attack import attack
from superalign_training.loop.stages.competence import competence
from superalign_training.loop.stages.conform import conform
from superalign_training.loop.stages.critics import critics
from superalign_training.loop.stages.discover import discover
from superalign_training.loop.stages.evaluate import evaluate, test
from superalign_training.loop.stages.gap import gap
from superalign_training.loop.stages.gate import gate
from superalign_training.loop.stages.harden import harden, imitate, teach_critic
from superalign_training.loop.stages.improve import (
    improve,
    measure_outcomes,
    test_outcomes,
)
from superalign_training.loop.stages.judge import calibrate, judge
from superalign_training.loop.stages.league import league, trial
from superalign_training.loop.stages.learn import learn
from superalign_training.loop.stages.measure import final, measure
from superalign_training.loop.stages.supervise import supervise
from superalign_training.loop.stages.survey import survey
from superalign_training.settings import Settings

RED_TEAM: tuple[Role, ...] = ("attacker", "learner", "critic")
"""Roles of a scenario in which an attacker, a learner and a critic meet."""

GENERATIONS = RED_TEAM
"""Roles that learn in a chain of generations."""

_OF_ROLE: Mapping[Role, tuple[str, ...]] = {
    "critic": ("judge", "calibrate"),
    "attacker": ("attack",),
    "learner": ("learn",),
}
"""Role → the stages in which it learns."""

Stage = Callable[..., Outcome]
"""(bench, settings=…) → what it leaves."""


def plan(settings: Settings) -> list[Planned]:
    """Return the stages of a run, in order."""
    if settings.generations and settings.hardening is None:
        listed = _generations(settings)
    else:
        listed = _in_rounds(settings)
    shared = _shaping(settings)
    return [
        Planned(name, partial(do, settings=settings), round, generation, shared)
        for name, do, generation, round in listed
    ]


_Entry = tuple[str, Stage, int, int]
"""(name, stage, generation, round)."""


def _in_rounds(settings: Settings) -> Iterator[_Entry]:
    if settings.hardening is not None:
        return _hardened(settings, settings.hardening)
    return _red_team(settings) if plays_red_team(settings) else _rounds(settings)


def plays_red_team(settings: Settings) -> bool:
    """Whether a scenario declares the variants and has the roles that red-teaming needs."""
    scenario = stage_scenario(settings, split="train")
    roles = set(map(role_of, scenario.seats))
    return {"attacked", "plain", "planted"} <= set(variants_of(scenario)) and (
        set(RED_TEAM) <= roles
    )


def left_out(settings: Settings) -> list[str]:
    """Return which stages a run leaves out, and why: a line each."""
    if not plays_red_team(settings):
        return [
            f"{settings.scenario} declares no variants attacked, plain and planted: rounds "
            "improve who learns by pay alone, without attacks, a critic's school and people",
            *alarms_off(settings),
        ]
    if settings.hardening is not None:
        return [
            "hardening teaches critic and learner by courses of its own: algorithms of train, "
            "attack, learn, annotate and calibrate are left out",
            *alarms_off(settings),
        ]
    lines = []
    for role, stages in _OF_ROLE.items():
        if role not in settings.learning:
            verb = "is" if len(stages) == 1 else "are"
            lines.append(
                f"{' and '.join(stages)} {verb} left out: the {role} "
                f"({_name(settings.reference(role))}) does not learn"
            )
    if settings.league.share and set(RED_TEAM) - set(settings.learning):
        lines.append("the league is left out: not all of its roles learn")
    return [*lines, *alarms_off(settings)]


def _name(reference: AgentReference) -> str:
    return reference if isinstance(reference, str) else str(reference.get("id"))


def _rounds(settings: Settings) -> Iterator[_Entry]:
    """Evaluate, rounds that improve every learning policy, evaluate after each, test.

    Policies are improved in the order of the seats: a record keeps no order of a lineup.
    """
    yield "evaluate", measure_outcomes, 0, 0
    roles = dict.fromkeys(map(role_of, stage_scenario(settings, split="train").seats))
    learning = [role for role in roles if role in settings.learning]
    held = {settings.holder(role): role for role in reversed(learning)}
    for number in range(1, settings.rounds + 1):
        for role in learning:
            if held[settings.holder(role)] == role:  # once, though it holds several
                yield f"improve-{role}", partial(improve, role=role), 0, number
        yield "evaluate", measure_outcomes, 0, number
        yield "alarms", alarms, 0, number
    yield "test", test_outcomes, 0, settings.rounds


def _red_team(settings: Settings) -> Iterator[_Entry]:
    """Judge → evaluate, rounds with an evaluation each, test at the end."""
    if "critic" in settings.learning:
        yield "judge", judge, 0, 0
    yield "evaluate", evaluate, 0, 0
    for number in range(1, settings.rounds + 1):
        yield from _round(settings, 0, number)
    yield "test", test, 0, settings.rounds
    if settings.evaluate.critic_cases and {"critic", "learner"} <= set(settings.learning):
        yield "critics", critics, 0, settings.rounds


def _hardened(settings: Settings, rules: Hardening) -> Iterator[_Entry]:
    """Judge → evaluate → imitate, rounds of attacks with an evaluation each, test.

    Raises:
        InvalidOption: a scenario, a lineup or a chain that cannot be hardened.
    """
    if settings.generations:
        raise InvalidOption("hardening is for rounds; set generations=0 or hardening=null")
    if not plays_red_team(settings):
        raise InvalidOption(
            f"{settings.scenario} cannot be hardened: it declares no variants attacked and "
            "planted; set hardening=null"
        )
    for role in ("learner", "critic"):
        if role not in settings.learning:
            raise InvalidOption(
                f"hardening teaches the {role}, who does not learn here; give it a policy and "
                f"an algorithm (lineup.{role}=micro/3 train.{role}=sft), or set hardening=null"
            )
    yield "judge", partial(teach_critic, rules=rules), 0, 0
    yield "evaluate", evaluate, 0, 0
    yield "imitate", partial(imitate, rules=rules), 0, 0
    for number in range(1, settings.rounds + 1):
        yield "harden", partial(harden, rules=rules), 0, number
        yield "evaluate", evaluate, 0, number
        yield "alarms", alarms, 0, number
    yield "test", test, 0, settings.rounds


def _round(settings: Settings, generation: int, number: int) -> Iterator[_Entry]:
    """Attack → (survey → supervise →) learn → annotate → calibrate (→ evaluate) (→ league → trial) → alarms."""
    if "attacker" in settings.learning:
        yield "attack", attack, generation, number
    if settings.evaluate.survey:
        yield "survey", survey, generation, number
    if settings.supervise is not None:
        taught = partial(supervise, rules=settings.supervise)
        yield "supervise", taught, generation, number
    if settings.by_pay("learner"):
        yield "learn", learn, generation, number
    yield "annotate", annotate, generation, number
    if "critic" in settings.learning:
        yield "calibrate", calibrate, generation, number
    if not generation:  # a generation is measured as a whole
        yield "evaluate", evaluate, generation, number
    if settings.league.share and not set(RED_TEAM) - set(settings.learning):
        yield "league", partial(league, rules=settings.league), generation, number
        yield "trial", partial(trial, rules=settings.league), generation, number
    yield "alarms", alarms, generation, number


def _generations(settings: Settings) -> Iterator[_Entry]:
    """Gap → competence → discover → conform → rounds → measure → gate, for A_1 … A_K.

    Rounds are counted on from one generation to the next, so that a round names one time
    in the run (Kim et al. 2025, progressive training; its anneal step is the controller's
    choice at the beginning of the next generation).
    """
    yield "judge", judge, 0, 0
    round = 0
    for number in range(1, settings.generations + 1):
        yield "gap", gap, number, round
        for name, do, rounds in _order(settings, last=number == settings.generations):
            yield name, do, number, round
            for _ in range(rounds):
                round += 1
                yield from _round(settings, number, round)
        yield "measure", measure, number, round
        yield "gate", gate, number, round
    yield "test", final, settings.generations, round
    if settings.evaluate.critic_cases:
        yield "critics", critics, settings.generations, round


def _order(settings: Settings, *, last: bool) -> list[tuple[str, Stage, int]]:
    """Return (name, stage, rounds of self-play after it) of one generation.

    What an order leaves out in one place it spends in another, so that all orders train
    for as many steps on as many answers: conformity that comes last is as much as the
    alternating chain has in all its generations, and a chain without any is taught twice
    as much competence.
    """
    learning = ("competence", competence, 0)
    deployed = ("discover", discover, 0)
    aligning = ("conform", conform, settings.rounds)
    if settings.order == "competence-only":
        return [("competence", partial(competence, effort=2), 0), deployed]
    if settings.order == "conformity-last":
        if not last:
            return [learning, deployed]
        everything = partial(conform, effort=settings.generations)
        rounds = settings.rounds * settings.generations
        return [learning, deployed, ("conform", everything, rounds)]
    if settings.order == "conformity-first":
        return [deployed, aligning, learning]
    return [learning, deployed, aligning]


def _shaping(settings: Settings) -> dict[str, Any]:
    """Return the settings that shape results; where a run lies does not.

    The number of rounds does not either: a finished run may be continued with more; nor
    does when to stop because episodes fail.
    """
    idle = {"run_dir", "threads", "rounds", "failures"}
    return settings.model_dump(mode="json", exclude=idle)
