"""Which stages a run consists of. Self-play is a short list, the generation loop a longer one."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from superalign_training.loop.driver import Outcome, Planned
from superalign_training.loop.stages.annotate import annotate
from superalign_training.loop.stages.attack import attack
from superalign_training.loop.stages.competence import competence
from superalign_training.loop.stages.conform import conform
from superalign_training.loop.stages.critics import critics
from superalign_training.loop.stages.discover import discover
from superalign_training.loop.stages.evaluate import evaluate, test
from superalign_training.loop.stages.gap import gap
from superalign_training.loop.stages.gate import gate
from superalign_training.loop.stages.judge import calibrate, judge
from superalign_training.loop.stages.league import league, trial
from superalign_training.loop.stages.learn import learn
from superalign_training.loop.stages.measure import final, measure
from superalign_training.loop.stages.supervise import supervise
from superalign_training.loop.stages.survey import survey
from superalign_training.settings import Settings

Stage = Callable[..., Outcome]
"""(bench, settings=…) → what it leaves."""


def plan(settings: Settings) -> list[Planned]:
    """Return the stages of a run, in order."""
    listed = _generations(settings) if settings.generations else _self_play(settings)
    shared = _shaping(settings)
    return [
        Planned(name, partial(do, settings=settings), round, generation, shared)
        for name, do, generation, round in listed
    ]


_Entry = tuple[str, Stage, int, int]
"""(name, stage, generation, round)."""


def _self_play(settings: Settings) -> Iterator[_Entry]:
    """Judge → evaluate, rounds with an evaluation each, test at the end."""
    yield "judge", judge, 0, 0
    yield "evaluate", evaluate, 0, 0
    for number in range(1, settings.rounds + 1):
        yield from _round(settings, 0, number)
    yield "test", test, 0, settings.rounds
    if settings.evaluate.critic_cases:
        yield "critics", critics, 0, settings.rounds


def _round(settings: Settings, generation: int, number: int) -> Iterator[_Entry]:
    """Attack → (survey → supervise →) learn → annotate → calibrate (→ evaluate) (→ league → trial)."""
    yield "attack", attack, generation, number
    if settings.evaluate.survey:
        yield "survey", survey, generation, number
    if settings.supervise is not None:
        taught = partial(supervise, rules=settings.supervise)
        yield "supervise", taught, generation, number
    yield "learn", learn, generation, number
    yield "annotate", annotate, generation, number
    yield "calibrate", calibrate, generation, number
    if not generation:  # a generation is measured as a whole
        yield "evaluate", evaluate, generation, number
    if settings.league.share:
        yield "league", partial(league, rules=settings.league), generation, number
        yield "trial", partial(trial, rules=settings.league), generation, number


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
