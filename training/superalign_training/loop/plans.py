"""The stages of a run: rounds of any scenario, or a chain of generations.

No role and no game is known by name: which stages there are follows from the facts and
variants that the scenario declares, and from who learns.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal, NamedTuple

from superalign_env.errors import InvalidOption
from superalign_env.types import Role, Seat, role_of
from superalign_training.lineup import AgentReference, is_person
from superalign_training.loop.driver import Outcome, Planned
from superalign_training.loop.parts import (
    ATTACKED,
    DEPLOYED,
    JUDGED,
    PLANTED,
    SUPERVISED,
    Needs,
    Parts,
)
from superalign_training.loop.playing import stage_parts, stage_scenario
from superalign_training.loop.sandbox import is_judged
from superalign_training.loop.stages.alarms import alarms, alarms_off
from superalign_training.loop.stages.annotate import annotate
from superalign_training.loop.stages.attack import attack
from superalign_training.loop.stages.competence import competence
from superalign_training.loop.stages.conform import conform
from superalign_training.loop.stages.discover import discover
from superalign_training.loop.stages.evaluate import evaluate, test
from superalign_training.loop.stages.gap import gap
from superalign_training.loop.stages.gate import gate
from superalign_training.loop.stages.harden import harden, imitate, teach_critic
from superalign_training.loop.stages.improve import improve
from superalign_training.loop.stages.judge import calibrate, judge
from superalign_training.loop.stages.league import (
    league,
    league_lines,
    rated_pairings,
    trial,
    tried_pairing,
)
from superalign_training.loop.stages.measure import final, measure
from superalign_training.loop.stages.own_evaluations import PREFIX, evaluated
from superalign_training.loop.stages.supervise import supervise
from superalign_training.oversight.settings import Hardening
from superalign_training.settings import Settings

Stage = Callable[..., Outcome]
"""(bench, settings=…) → what it leaves."""

Way = Literal["attack", "calibrate", "improve"]
"""The stage in which a policy learns."""


class _Entry(NamedTuple):
    name: str
    do: Stage
    generation: int = 0
    round: int = 0
    needs: Needs = Needs()


def plan(settings: Settings) -> list[Planned]:
    """Return the stages of a run, in order; what the scenario has nothing for is left out."""
    parts, shared = stage_parts(settings), _shaping(settings)
    listed = _entries(settings, parts)
    return [
        Planned(
            entry.name,
            partial(entry.do, settings=settings),
            entry.round,
            entry.generation,
            shared,
            entry.needs,
        )
        for entry in listed
        if parts.can(entry.needs)
    ]


def _entries(settings: Settings, parts: Parts) -> Iterator[_Entry]:
    if settings.hardening is not None:
        return _hardened(settings, parts, settings.hardening)
    if settings.generations:
        return _generations(settings, parts)
    return _rounds(settings, parts)


def way_of(role: Role, parts: Parts, settings: Settings) -> Way:
    """Return in which stage a role learns: by attacks, by planted answers, else by pay.

    Only policies go to school: a learner that improves itself knows nothing but pay.
    """
    if settings.own(role):
        return "improve"
    if role == parts.asks and parts.can(ATTACKED):
        return "attack"
    if role == parts.judges and parts.can(PLANTED):
        return "calibrate"
    return "improve"


def people_in(settings: Settings) -> list[Seat]:
    """Return the seats that people hold."""
    seats = stage_scenario(settings, split="train").seats
    names = [seat if seat in settings.lineup else role_of(seat) for seat in seats]
    return [
        seat
        for seat, name in zip(seats, names, strict=True)
        if is_person(settings.reference(name))
    ]


def left_out(settings: Settings) -> list[str]:
    """Return which stages a run leaves out, and why: a line each."""
    parts = stage_parts(settings)
    if settings.hardening is not None:
        return [
            "hardening teaches who judges and who answers by courses of its own: algorithms of "
            "train, attack, annotate and calibrate are left out",
            *alarms_off(settings, parts),
        ]
    lines = [*_lacking(settings, parts), *_idle_lines(settings, parts)]
    if settings.generations and parts.can(DEPLOYED) and not is_judged(settings):
        lines.append(
            f"discover and conform are left out: nobody judges what the {settings.raised} "
            f"says in the variant plain of {parts.scenario}"
        )
    for role in settings.learning:
        if settings.own(role):
            lines.append(
                f"late answers and lessons do not reach the {role} "
                f"({_name(settings.reference(role))}): it improves itself by what its plays "
                "are paid at once"
            )
    return [*lines, *league_lines(settings, parts), *alarms_off(settings, parts)]


def _lacking(settings: Settings, parts: Parts) -> Iterator[str]:
    """Yield a line for each capability that the scenario lacks, with the stages that need it."""
    lacking: dict[Needs, dict[str, None]] = {}
    for entry in _entries(settings, parts):
        if not parts.can(entry.needs):
            lacking.setdefault(entry.needs, {})[entry.name] = None
    for needs, missing in lacking.items():
        yield f"{_listed(list(missing))} left out: {parts.lacks(needs)}"


def _idle_lines(settings: Settings, parts: Parts) -> Iterator[str]:
    """Yield a line for each role that does not learn, with the stages that teach it."""
    for role, stages in _idle(settings, parts):
        holder = _name(settings.reference(role))
        yield f"{_listed(stages)} left out: the {role} ({holder}) does not learn"


def _idle(settings: Settings, parts: Parts) -> Iterator[tuple[Role, list[str]]]:
    """Yield roles that no stage teaches, and the stages that only they have."""
    for role in parts.roles:
        way = "" if settings.own(role) else way_of(role, parts, settings)
        if role not in settings.learning:
            if way == "calibrate":
                yield role, ["judge", "calibrate"]
            elif way == "attack":
                yield role, ["attack"]
            elif role == parts.answers:
                yield role, [f"improve-{role}"]


def _listed(names: list[str]) -> str:
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'}"


def _name(reference: AgentReference) -> str:
    return reference if isinstance(reference, str) else str(reference.get("id"))


def _rounds(settings: Settings, parts: Parts) -> Iterator[_Entry]:
    """Judge → evaluate, rounds with an evaluation each, test at the end."""
    if parts.judges in ("", *_taught(settings)):
        yield _Entry("judge", judge, needs=PLANTED)
    yield _Entry("evaluate", evaluate)
    for number in range(1, settings.rounds + 1):
        yield from _round(settings, parts, 0, number)
        yield from _own(settings, "round", 0, number)
    yield _Entry("test", test, 0, settings.rounds)
    yield from _own(settings, "end", 0, settings.rounds)


def _own(settings: Settings, when: str, generation: int, number: int) -> Iterator[_Entry]:
    """Evaluations of one's own, after a round or at the end."""
    for one in settings.evaluate.also:
        if one.when == when:
            do = partial(evaluated, evaluation=one)
            yield _Entry(f"{PREFIX}{one.id}", do, generation, number)


def _hardened(settings: Settings, parts: Parts, rules: Hardening) -> Iterator[_Entry]:
    """Judge → evaluate → imitate, rounds of attacks with an evaluation each, test.

    Raises:
        InvalidOption: a scenario, a lineup or a chain that cannot be hardened.
    """
    if settings.generations:
        raise InvalidOption("hardening is for rounds; set generations=0 or hardening=null")
    for needs in (ATTACKED, PLANTED):
        if not parts.can(needs):
            raise InvalidOption(
                f"{settings.scenario} cannot be hardened ({parts.lacks(needs)}); set "
                "hardening=null"
            )
    for role in (parts.answers, parts.judges):
        if role not in _taught(settings):
            raise InvalidOption(
                f"hardening teaches the {role}, who does not learn here; give it a policy and "
                f"an algorithm (lineup.{role}=micro/3 train.{role}=sft), or set hardening=null"
            )
    yield _Entry("judge", partial(teach_critic, rules=rules))
    yield _Entry("evaluate", evaluate)
    yield _Entry("imitate", partial(imitate, rules=rules))
    for number in range(1, settings.rounds + 1):
        yield _Entry("harden", partial(harden, rules=rules), 0, number)
        yield _Entry("evaluate", evaluate, 0, number)
        yield _Entry("alarms", alarms, 0, number)
    yield _Entry("test", test, 0, settings.rounds)


def _round(
    settings: Settings, parts: Parts, generation: int, number: int
) -> Iterator[_Entry]:
    """Attack → (supervise →) improve → calibrate → evaluate (→ league) → alarms.

    Policies are improved in the order of the seats; who judges learns last, when people
    have said what they think of this round's answers.
    """
    place = (generation, number)
    learning = [role for role in parts.roles if role in settings.learning]
    if parts.asks in ("", *_taught(settings)):
        yield _Entry("attack", attack, *place, ATTACKED)
    if settings.supervise is not None:
        taught = partial(supervise, rules=settings.supervise)
        yield _Entry("supervise", taught, *place, SUPERVISED)
    by_pay = [
        role
        for role in learning
        if way_of(role, parts, settings) == "improve" and settings.by_pay(role)
    ]
    # Once, though a policy holds several roles.
    held = {settings.holder(role): role for role in reversed(by_pay)}
    for role in by_pay:
        if held[settings.holder(role)] == role:
            yield _Entry(f"improve-{role}", partial(improve, role=role), *place)
    # Else people are asked while somebody learns.
    if settings.budget and not by_pay:
        yield _Entry("annotate", annotate, *place, JUDGED)
    if parts.judges in ("", *_taught(settings)):
        yield _Entry("calibrate", calibrate, *place, PLANTED)
    if not generation:  # a generation is measured as a whole
        yield _Entry("evaluate", evaluate, *place)
    if settings.league.share and rated_pairings(settings, parts):
        yield _Entry("league", partial(league, rules=settings.league), *place)
        if tried_pairing(settings, parts) is not None:
            yield _Entry("trial", partial(trial, rules=settings.league), *place)
    yield _Entry("alarms", alarms, *place)


def _taught(settings: Settings) -> list[Role]:
    """Return the roles that policies hold which learn; who improves itself is none."""
    return [role for role in settings.learning if not settings.own(role)]


def _generations(settings: Settings, parts: Parts) -> Iterator[_Entry]:
    """Gap → competence → discover → conform → rounds → measure → gate, for A_1 … A_K.

    Rounds are counted on from one generation to the next, so that a round names one time
    in the run (Kim et al. 2025, progressive training; its anneal step is the controller's
    choice at the beginning of the next generation).
    """
    if parts.judges in ("", *_taught(settings)):
        yield _Entry("judge", judge, needs=PLANTED)
    deploys = is_judged(settings) or not parts.can(DEPLOYED)
    round = 0
    for number in range(1, settings.generations + 1):
        yield _Entry("gap", gap, number, round)
        for name, do, rounds in _order(settings, last=number == settings.generations):
            risky = name in ("discover", "conform")
            if deploys or not risky:
                needs = DEPLOYED if risky else Needs()
                yield _Entry(name, do, number, round, needs)
            for _ in range(rounds):
                round += 1
                yield from _round(settings, parts, number, round)
        yield _Entry("measure", measure, number, round)
        yield from _own(settings, "round", number, round)
        yield _Entry("gate", gate, number, round)
    yield _Entry("test", final, settings.generations, round)
    yield from _own(settings, "end", settings.generations, round)


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
